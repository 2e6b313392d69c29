"""When to draw, and how much: as much as the link to the terminal carries, and no more.

Theory of operation. After each piece of output the terminal is asked a harmless question; its answer tells that the
piece has arrived, and how long it took. Nothing is sent while an answer is owed, so nothing queues up anywhere on the
way, and a key pressed now is drawn next. From time and size of the pieces follows how many bytes may go at once for
an answer within `TARGET_S`. Values are drawn again when the last ones are on the screen and the link has rested as
long as it worked. While it stood still it did not work: what is on the screen then is old, and drawn again at once. A
terminal that never answers is not asked again; then what counts is whether the output was taken.
All times are monotonic seconds, given by the caller.
"""

from collections import deque
from typing import Final

from wsmon.views.frame import Frame, Severity

LOOK_S: Final = 0.1
"""Values are drawn at most so often."""
LEAN_S: Final = 1.0
"""… on a slow link."""
AWAY_S: Final = 2.0
"""… while the terminal says that its window does not have the focus."""
LEAN_BYTES_S: Final = 700.0
"""What values may cost a second on a slow link, on average."""
TARGET_S: Final = 0.12
"""How long a piece of output may be under way, beyond the time that the way itself takes."""
BYTES_MIN: Final = 96
BYTES_FIRST: Final = 1_024
BYTES_NEAR: Final = 16_384
"""What goes at once to a terminal that answers at once."""
BYTES_LEAN: Final = 192
BYTES_SLOW: Final = 400
"""What carries no more than this in one piece is slow: about 3 KB/s."""
BYTES_MAX: Final = 65_536
NOBODY_S: Final = 1.0
"""A terminal that has not answered by now does not know the question."""
LOST_S: Final = 10.0
"""An answer that has not come by now will not come: another terminal may have taken the place of the first."""
STANDS_S: Final = 1.0
"""A link that takes so long for one piece was not slow: it stood still."""
SHARE: Final = 2.0
"""The link works for one part of so many; the rest is for keys."""
ENTRY_BYTES: Final = 150
"""What goes before the first question: modes to be set."""
UNNOTICED_S: Final = 0.05
"""Faster than this, a link is not slow."""
_LOUD: Final = frozenset({Severity.WARNING, Severity.BAD})


class Pace:
    """Says when to send and when to draw."""

    def __init__(self, *, lean: bool = False) -> None:
        """`lean`: the link is known to be slow."""
        self._lean = lean
        self.focused = True
        """Whether the window has the focus, as far as the terminal says anything about that."""
        self.budget = BYTES_LEAN if lean else BYTES_FIRST
        """How many bytes the next piece may have."""
        self.asks = True
        """Whether to ask a question after the next piece."""
        self._answers = False
        self._under_way: deque[tuple[float, int]] = deque()
        """When each question went that is not answered yet, and how many bytes before it."""
        self._way_s: float | None = None
        self._quickest = (float("inf"), 0)
        self._drawn_at = float("-inf")
        self._pending = False
        self._bytes = 0
        self._due = float("-inf")
        self._waits_since: float | None = None
        """Since when there is a piece that may not go."""
        self._stood_s = 0.0
        """How long the link has stood still since values were drawn."""

    def may_send(self, now: float, *, busy: bool) -> bool:
        """Say whether a piece may go now; `busy`: earlier output has not even left this machine."""
        if not self._is_free(now, busy=busy):
            self._waits_since = now if self._waits_since is None else self._waits_since
            return False
        if self._waits_since is not None and now - self._waits_since > STANDS_S:
            self._stood_s += now - self._waits_since
        self._waits_since = None
        return True

    def _is_free(self, now: float, *, busy: bool) -> bool:
        owed = [at for at, size in self._under_way if size]
        if not owed:
            return not busy
        if busy or now - owed[0] < (LOST_S if self._answers else NOBODY_S):
            return False
        self.asks = self._answers
        self._under_way.clear()
        return True

    def sent(self, now: float, size: int) -> None:
        """Note that a piece of so many bytes went, with a question at its end if it `asks`.

        The first question may go alone, with no bytes to speak of: nothing waits for its answer.
        """
        self._bytes += size
        if self.asks:
            self._under_way.append((now, size))

    def answered(self, now: float) -> None:
        """Note an answer, awaited or not."""
        self.asks = self._answers = True
        if not self._under_way:
            return
        at, size = self._under_way.popleft()
        took_s = now - at
        self._learn(took_s, size or ENTRY_BYTES)
        if not size:
            if took_s < UNNOTICED_S and not self._lean:
                self.budget = BYTES_NEAR
            return
        beyond_s = took_s - (self._way_s or 0.0)
        if beyond_s > TARGET_S:
            self.budget = max(BYTES_MIN, min(self.budget, int(size * TARGET_S / beyond_s)))
        elif size > self.budget // 2:
            self.budget = min(BYTES_MAX, self.budget * 2 if beyond_s < TARGET_S / 2 else self.budget * 5 // 4)

    def _learn(self, took_s: float, size: int) -> None:
        """Estimate how long the way itself takes: what is left of the quickest answer without its bytes' own time."""
        least_s, least = self._quickest
        way_s = took_s
        if took_s > least_s and size > least:
            way_s = max(0.0, least_s - least * (took_s - least_s) / (size - least))
        elif took_s <= least_s:
            self._quickest = took_s, size
        # Ways can become longer, too: a little of the old estimate is given up each time.
        self._way_s = way_s if self._way_s is None else min(self._way_s * 1.001, way_s)

    def may_draw(self, now: float) -> bool:
        """Say whether values may be drawn again."""
        return not self._pending and now >= max(self._due, self._drawn_at + self._least_s())

    def _least_s(self) -> float:
        least_s = LEAN_S if self._lean else LOOK_S
        # A timer that is a little early must not cost a whole turn.
        return (least_s if self.focused else max(least_s, AWAY_S)) * 0.98

    @property
    def slow(self) -> bool:
        """Whether the link carries so little that each byte counts."""
        return self.budget < BYTES_SLOW

    @property
    def pending(self) -> bool:
        """Whether something was drawn that the screen is not known to show yet."""
        return self._pending

    def drew(self, now: float) -> None:
        """Note that values were drawn; they are not on the screen yet, and those before may not be either."""
        if not self._pending:
            self._drawn_at, self._due, self._pending, self._bytes = now, now, True, 0
            self._stood_s = 0.0

    def shown(self, now: float) -> None:
        """Note that the screen shows all that was drawn."""
        if not self._pending:
            return
        self._pending = False
        took_s = max(0.0, now - self._drawn_at - self._stood_s)
        if took_s > UNNOTICED_S:
            self._due = now + (SHARE - 1) * took_s
        if self._lean:
            self._due = max(self._due, self._drawn_at + self._bytes / LEAN_BYTES_S)

    def began(self) -> None:
        """Begin anew: the terminal was left and entered again."""
        self._under_way.clear()
        self._pending = False
        self._waits_since = None


def urgent(before: Frame, after: Frame) -> bool:
    """Return whether a frame tells something that must not wait for its turn."""
    if before.header.health is not after.header.health or before.ended != after.ended:
        return True
    if [row.state for row in before.nodes] != [row.state for row in after.nodes]:
        return True
    if before.actions != after.actions:
        return True
    known = before.events[-1].key if before.events else None
    for event in reversed(after.events):
        if event.key == known:
            break
        if event.severity in _LOUD:
            return True
    return False
