"""What lies between processes: loses, delays, and is cut."""

from tests.sim_health.ground import Ground


class Network:
    """Every path between two processes, each way."""

    def __init__(self, ground: Ground) -> None:
        self.lossless_since = 0.0
        """Since when nothing gets lost by chance, later than now if something does."""
        self._loss = 0.0
        self._ground = ground
        self._cuts: set[tuple[str, str]] = set()
        self.cut_at: dict[tuple[str, str], float] = {}
        """When a path was last seen cut."""

    @property
    def loss(self) -> float:
        """How likely it is that a question or an answer is lost for good."""
        return self._loss

    @loss.setter
    def loss(self, loss: float) -> None:
        if self._loss or loss:
            self.lossless_since = float("inf") if loss else self._ground.now
        self._loss = loss

    def set_cut(self, one: str, other: str, *, cut: bool) -> None:
        """Cut a path in both directions, or mend it."""
        for path in ((one, other), (other, one)):
            self.cut_at[path] = self._ground.now
            (self._cuts.add if cut else self._cuts.discard)(path)

    def cut(self, one: str, other: str) -> bool:
        """Say whether nothing gets through from one to the other."""
        return (one, other) in self._cuts

    def whole_since(self, one: str, other: str) -> float:
        """Return since when everything got through, later than now if it does not."""
        return float("inf") if self.cut(one, other) else self.cut_at.get((one, other), 0.0)

    def mend(self) -> None:
        """Mend everything."""
        for one, other in tuple(self._cuts):
            self.set_cut(one, other, cut=False)

    def lost(self, one: str, other: str) -> bool:
        """Say whether what is sent now gets lost."""
        return self.cut(one, other) or (self._loss > 0 and self._ground.dice.random() < self._loss)

    def delay(self) -> float:
        """Return how long something is on its way, in seconds."""
        return 0.0002 + 0.0008 * self._ground.dice.random()
