"""The reducer. `ClusterModel.apply` folds in one fact after the other; nothing else changes the model.

The model keeps what was said, by whom and when. What follows from it at a moment (whether a node counts as online,
whether a peer is silent) is worked out by `standing` and by the views, from the model and `now`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from wsmon.model.continuity import FeedsOff, feeds_off, resumes
from wsmon.model.deeds import Deeds
from wsmon.model.incidents import KEPT_LIVE, Incidents
from wsmon.model.inputs import (
    ActionAnswered,
    ActionAsked,
    Captioned,
    ClusterEnded,
    Happened,
    HttpSample,
    Input,
    Marked,
    PeerBeat,
    PeerGarbage,
    PeerGone,
    PeerSeen,
    PeerState,
    ProcessSample,
    RedisSeen,
    RegistryBad,
    RegistrySeen,
    StartProgress,
    StepSeen,
    VerdictsSeen,
)
from wsmon.model.ledger import EventLedger, Recorded
from wsmon.model.rates import CHANGE_OVER_S, RATE_OVER_S, History
from wsmon.model.reading import NOTHING, TIME_MOST, bounded, count, moment, number, table, text
from wsmon.model.sessions import Sessions
from wsmon.model.timeline import Lanes
from wsmon.model.tolls import Tolls
from wsmon.model.trails import CLUSTER, Trails
from wsmon.model.truth import Truth
from wsmon.protocol.events import FaultEnded, FaultStarted, NodeStateChanged, Resumed
from wsmon.protocol.frames import EventFrame, ReadOnlyJson
from wsmon.protocol.registry import RegistryEntry, Verdict
from wsmon.protocol.session import SILENCE_S
from wsmon.protocol.states import CheckerMode, NodeState, PeerKind

PEERS_MAX: Final = 4_096
"""Peers, nodes and process samples beyond this many are not taken; `overflow` counts them."""
REDIS: Final = "redis"
"""Kind of the one process that serves no admin socket."""
ACTIONS_KEPT: Final = 20
MARKERS_KEPT: Final = 1_000
FAULTS_MAX: Final = 256
BAD_MAX: Final = 64
"""Entries of the registry that do not parse, and peers that speak nonsense, kept for the list of problems."""


@dataclass(slots=True)
class Peer:
    """One admin socket: what it said and when it was heard."""

    id: str
    kind: PeerKind | None = None
    """None until it said hello."""
    hello: PeerSeen | None = None
    boot: int = 0
    rev: int = 0
    state: ReadOnlyJson = field(default_factory=dict)
    """The last state, as it was handed in."""
    state_at: float | None = None
    """The peer's clock when it published `state`."""
    lag_ms: float | None = None
    heard_at: float | None = None
    """When anything was heard last; None: never."""
    gone_at: float | None = None
    """Since when there is no connection; None while there is one."""
    gone_reason: str = ""

    def fresh(self, now: float) -> bool:
        """Say whether the peer is connected and not silent."""
        return self.gone_at is None and self.heard_at is not None and now - self.heard_at <= SILENCE_S

    def quiet_s(self, now: float) -> float | None:
        """Return how long nothing was heard; None if nothing ever was."""
        return None if self.heard_at is None else max(0.0, now - self.heard_at)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a checker said of a node."""

    state: NodeState
    at: float
    reason: str


@dataclass(slots=True)
class Node:
    """What is known of one node besides its admin socket."""

    id: str
    entry: RegistryEntry | None = None
    """Its entry in the registry, as long as it stands there."""
    verdict: Verdict | None = None
    """The checker's table."""
    told: Judgement | None = None
    """The newest `node_state` event from a checker."""
    word: NodeState | None = None
    """The node's own word; None: not known."""
    word_at: float = 0.0
    """Since when; 0: not known."""
    http: HttpSample | None = None
    boot: int = 0
    feeds_off: tuple[FeedsOff, ...] = ()
    resumes: dict[str, int] = field(default_factory=dict)
    """Sessions taken up again in the present life, by the way it ended."""
    resumes_before: dict[str, int] = field(default_factory=dict)
    """The same of all earlier lives, so that a ledger over nodes never falls because one of them died."""
    messages_in: History = field(default_factory=lambda: History(RATE_OVER_S))
    messages_out: History = field(default_factory=lambda: History(RATE_OVER_S))
    connections: History = field(default_factory=lambda: History(CHANGE_OVER_S))

    def begin(self, boot: int) -> None:
        """Start a new life: old numbers mean nothing any more."""
        self.boot = boot
        self.word, self.word_at = None, 0.0
        self.feeds_off = ()
        for way, times in self.resumes.items():
            self.resumes_before[way] = self.resumes_before.get(way, 0) + times
        self.resumes = {}
        for history in (self.messages_in, self.messages_out, self.connections):
            history.clear()


@dataclass(slots=True)
class Complaint:
    """Something that does not follow the protocol."""

    id: str
    reason: str
    at: float
    mended_at: float | None = None


@dataclass(slots=True)
class Asked:
    """An action asked for at this console."""

    key: int
    text: str
    at: float
    answer: ActionAnswered | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault injected on purpose that is on now, unless its time is up."""

    fault: str
    target: str
    at: float
    until_at: float

    @property
    def ends(self) -> tuple[str, ...]:
        """Whom it concerns: a process, or a link and its two ends."""
        return self.target, *(self.target.split("-", 1) if "-" in self.target else ())


class ClusterModel:
    """Everything that is known of one cluster. Feed it by `apply`; read the rest."""

    def __init__(self, cluster: str, *, embedded: bool = False, incidents: Incidents | None = None) -> None:
        """`embedded`: the cluster is being started for us, so it is not broken before it was ever whole.

        `incidents` are for whoever has to keep more of them than a watcher does.
        """
        self.cluster = cluster
        self.embedded = embedded
        self.peers: dict[str, Peer] = {}
        self.nodes: dict[str, Node] = {}
        self.registry: dict[str, RegistryEntry] = {}
        """All entries, of every kind, as last read."""
        self.registry_at: float | None = None
        self.verdicts_at: float | None = None
        self.redis: RedisSeen | None = None
        self.redis_since: float | None = None
        """Since when Redis is in its present state."""
        self.samples: dict[str, ProcessSample] = {}
        self.events = EventLedger()
        self.lanes = Lanes()
        self.tolls = Tolls()
        self.trails = Trails()
        self.deeds = Deeds()
        self.incidents = Incidents(kept=KEPT_LIVE) if incidents is None else incidents
        self.truth = Truth()
        self.sessions = Sessions()
        self.faults: dict[tuple[str, str], Fault] = {}
        self.actions: deque[Asked] = deque(maxlen=ACTIONS_KEPT)
        self.markers: deque[Marked] = deque(maxlen=MARKERS_KEPT)
        self.caption = ""
        """What a scenario says is to be seen now."""
        self.garbage: dict[str, Complaint] = {}
        self.bad_entries: dict[str, Complaint] = {}
        self.lost_at: float | None = None
        """When the fleet's audit last counted a lost message."""
        self.steps: tuple[StepSeen, ...] = ()
        self.began_at: float | None = None
        """When the first fact came in."""
        self.started = False
        """Whether every node was online and everybody heard once, after all steps of the start."""
        self.ended: ClusterEnded | None = None
        self.overflow = 0
        self._audited: tuple[int, int] = (0, 0)

    def apply(self, item: Input) -> bool:
        """Fold one fact in; return whether it told anything: False for an event that is known or outdated."""
        if self.began_at is None:
            self.began_at = _heard(item)
        self.incidents.apply(item)
        match item:
            case Happened():
                return self._happened(item)
            case PeerState():
                return self._peer_state(item)
            case PeerBeat():
                return self._peer_beat(item)
            case ProcessSample(id=name):
                if name not in self.samples and len(self.samples) >= PEERS_MAX:
                    self.overflow += 1
                    return False
                self.samples[name] = item
            case HttpSample(id=name):
                node = self._node(name)
                if node is None:
                    return False
                node.http = item
            case VerdictsSeen():
                self._verdicts(item)
            case RegistrySeen():
                self._registry(item)
            case RedisSeen(state=state, at=at):
                if self.redis is None or self.redis.state != state:
                    self.redis_since = at
                self.redis = item
            case PeerSeen():
                return self._peer_seen(item)
            case PeerGone(id=name, reason=reason, at=at):
                peer = self._peer(name)
                if peer is None:
                    return False
                if peer.gone_at is None:
                    peer.gone_at = at
                peer.gone_reason = reason
            case PeerGarbage(id=name, reason=reason, at=at):
                _complain(self.garbage, Complaint(name, reason, at))
            case RegistryBad(id=name, reason=reason, at=at):
                _complain(self.bad_entries, Complaint(name, reason, at))
            case StartProgress(steps=steps, at=at):
                self.steps = steps
                self._watch_start(at)
            case ClusterEnded():
                self.ended = item
            case Captioned(text=words):
                self.caption = words
            case Marked():
                self.markers.append(item)
            case ActionAsked(key=key, text=words, at=at):
                self.actions.append(Asked(key, words, at))
            case ActionAnswered(key=key):
                for asked in self.actions:
                    if asked.key == key:
                        asked.answer = item
        return True

    # What is asked of the model. Nothing below changes it.

    def of_kind(self, kind: PeerKind) -> list[Peer]:
        """Return the peers of a kind."""
        return [peer for peer in self.peers.values() if peer.kind is kind]

    def checker(self, now: float) -> Peer | None:
        """Return the checker to believe: the leader, else any that is heard, the highest epoch first."""
        fresh = [peer for peer in self.of_kind(PeerKind.CHECKER) if peer.fresh(now)]
        return max(fresh, key=lambda peer: (leads(peer), count(peer.state, "epoch") or 0), default=None)

    def supervisor(self) -> Peer | None:
        """Return the supervisor, heard or not."""
        return next(iter(self.of_kind(PeerKind.SUPERVISOR)), None)

    def processes(self, now: float) -> ReadOnlyJson:
        """Return what the supervisor says of the processes; nothing while it is silent."""
        peer = self.supervisor()
        return table(peer.state, "processes") if peer is not None and peer.fresh(now) else NOTHING

    def fleets(self) -> list[Peer]:
        """Return the fleets, heard or not."""
        return self.of_kind(PeerKind.FLEET)

    def listed(self) -> list[str]:
        """Return the ids of the nodes that belong to the cluster, unsorted.

        A node belongs as long as anybody holds it: registry, checker, supervisor, or its own open admin socket.
        """
        names: dict[str, None] = {name: None for name, node in self.nodes.items() if node.entry or node.verdict}
        for peer in self.peers.values():
            if peer.kind is PeerKind.CHECKER:
                names.update(dict.fromkeys(table(peer.state, "targets")))
            elif peer.kind is PeerKind.SUPERVISOR:
                for name, process in table(peer.state, "processes").items():
                    if isinstance(process, dict) and process.get("kind") == PeerKind.NODE:
                        names[name] = None
            elif peer.kind is PeerKind.NODE and peer.gone_at is None:
                names[peer.id] = None
        return list(names)[:PEERS_MAX]

    def heard_anything(self, now: float) -> bool:
        """Say whether anybody at all answers."""
        if self.redis is not None and self.redis.state == "ok" and now - self.redis.at <= 2 * SILENCE_S:
            return True
        return any(peer.fresh(now) for peer in self.peers.values())

    def events_lost(self, now: float) -> int:
        """Return how many events never reached us, by either road."""
        if self.redis is None:
            return self.events.lost(now, redis_since=0.0)
        return self.events.lost(now, redis_since=self.redis_since if self.redis.state == "ok" else None)

    def faults_at(self, item: str, now: float) -> tuple[Fault, ...]:
        """Return the faults that are on at a process, and on the links that end there."""
        return tuple(fault for fault in self.faults.values() if now < fault.until_at and item in fault.ends)

    # The reducer's parts.

    def _our(self, source: str, at: float, heard_at: float) -> float:
        """Return a source's time on our clock. It cannot be later than when we heard of it.

        All processes share our clock for now; an offset for each source belongs here.
        """
        del source
        return min(max(0.0, at), heard_at)

    def _peer(self, name: str) -> Peer | None:
        peer = self.peers.get(name)
        if peer is None:
            if len(self.peers) >= PEERS_MAX:
                self.overflow += 1
                return None
            entry = self.registry.get(name)
            peer = self.peers[name] = Peer(name, kind=None if entry is None else entry.kind)
        return peer

    def _node(self, name: str) -> Node | None:
        node = self.nodes.get(name)
        if node is None:
            if len(self.nodes) >= PEERS_MAX:
                self.overflow += 1
                return None
            node = self.nodes[name] = Node(name)
        return node

    def _peer_seen(self, item: PeerSeen) -> bool:
        peer = self._peer(item.id)
        if peer is None or item.boot < peer.boot:
            return False
        if item.boot > peer.boot:
            peer.boot, peer.state, peer.state_at, peer.lag_ms = item.boot, {}, None, None
            self.lanes.restarted(item.id, item.boot)
            self.sessions.restarted(item.id, item.boot, at=item.at)
        peer.kind, peer.hello = item.kind, item
        peer.heard_at, peer.gone_at, peer.gone_reason = item.at, None, ""
        if item.kind is PeerKind.NODE:
            node = self._node(item.id)
            if node is not None and item.boot > node.boot:
                node.begin(item.boot)
        complaint = self.garbage.get(item.id)
        if complaint is not None and complaint.mended_at is None:
            complaint.mended_at = item.at
        return True

    def _peer_state(self, item: PeerState) -> bool:
        peer = self._peer(item.id)
        if peer is None or item.boot < peer.boot:
            return False
        if item.boot > peer.boot:
            peer.boot, peer.lag_ms = item.boot, None
        at = self._our(item.id, item.at, item.heard_at)
        peer.state, peer.rev, peer.state_at = item.state, item.rev, at
        peer.heard_at, peer.gone_at, peer.gone_reason = item.heard_at, None, ""
        match peer.kind:
            case PeerKind.NODE:
                self._node_state(item, at)
            case PeerKind.FLEET:
                self._fleet_state(item, at)
                self._watch_start(item.heard_at)
            case _:
                self._watch_start(item.heard_at)
        return True

    def _peer_beat(self, item: PeerBeat) -> bool:
        peer = self._peer(item.id)
        if peer is None or item.boot < peer.boot:
            return False
        peer.lag_ms = item.lag_ms
        peer.heard_at, peer.gone_at, peer.gone_reason = item.heard_at, None, ""
        node = self.nodes.get(item.id)
        if node is not None and item.rev == peer.rev and item.boot == node.boot:
            at = self._our(item.id, item.at, item.heard_at)
            for history in (node.messages_in, node.messages_out, node.connections):
                history.again(at)
            self._note_load(node, peer, at)
        return True

    def _node_state(self, item: PeerState, at: float) -> None:
        node = self._node(item.id)
        if node is None or item.boot < node.boot:
            return
        if item.boot > node.boot:
            node.begin(item.boot)
        for name, history in (("messages_in", node.messages_in), ("messages_out", node.messages_out)):
            value = number(item.state, name)
            if value is not None and value >= 0:
                history.note_counter(at, value)
        node.feeds_off, node.resumes = feeds_off(item.state), resumes(item.state)
        connections = count(item.state, "connections")
        if connections is not None:
            node.connections.note(at, connections)
        word = node_state(text(item.state, "state"))
        if word is NodeState.ONLINE and item.state.get("cordoned") is True:
            word = NodeState.CORDONED
        if word is not node.word:
            # The first word of a life that is heard may be an old one.
            node.word, node.word_at = word, at if node.word is not None else 0.0
        peer = self.peers.get(item.id)
        if peer is not None:
            self._note_load(node, peer, at)

    def _note_load(self, node: Node, peer: Peer, at: float) -> None:
        lag_ms = peer.lag_ms if peer.lag_ms is not None else number(peer.state, "loop_lag_ms")
        for measure, value in (
            ("connections", count(peer.state, "connections")),
            ("in", node.messages_in.per_second()),
            ("out", node.messages_out.per_second()),
            ("lag", lag_ms),
        ):
            self.trails.note(node.id, measure, at, value)

    def _fleet_state(self, item: PeerState, at: float) -> None:
        audit = table(item.state, "audit")
        lost = count(audit, "lost") or 0
        boot, before = self._audited
        if boot != item.boot:
            before = 0
        if lost > before:
            # A loss found at first sight may be old: the fleet may know when it was, else it counts from now.
            self.lost_at = moment(audit, "lost_at") or item.heard_at
        self._audited = (item.boot, lost)
        seq = self.events.highest(item.id)
        self.lanes.confirm(item.state, source=item.id, boot=item.boot, seq=seq, at=at)
        connected = [value for fleet in self.fleets() if (value := count(fleet.state, "connected")) is not None]
        self.trails.note(CLUSTER, "connected", at, sum(connected) if connected else None)
        self.sessions.confirm(item.state, source=item.id, boot=item.boot, at=at)

    def _happened(self, item: Happened) -> bool:
        event = item.event
        at = self._our(event.source, event.at, item.heard_at)
        recorded = self.events.take(event, at=at, heard_at=item.heard_at)
        if recorded is None:
            return False
        self._note(recorded)
        return True

    def _note(self, recorded: Recorded) -> None:
        event, at = recorded.event, recorded.at
        self.tolls.take(recorded.body, at)
        self.deeds.take(recorded)
        self.truth.take(recorded.body, source=event.source, boot=event.boot, seq=event.seq, at=at)
        if isinstance(recorded.body, Resumed):
            self.trails.add(CLUSTER, "resumed", at)
        match recorded.body:
            case NodeStateChanged(node=name, new=word, reason=reason):
                state = node_state(word)
                if state is not None:
                    self._moved(event, name, Judgement(state, at, reason))
            case FaultStarted(fault=fault, target=target, ttl_s=ttl_s):
                if len(self.faults) >= FAULTS_MAX:
                    del self.faults[next(iter(self.faults))]
                until_at = TIME_MOST if ttl_s is None else at + bounded(ttl_s, least=0, most=TIME_MOST)
                self.faults[fault, target] = Fault(fault, target, at, until_at)
            case FaultEnded(fault=fault, target=target):
                self.faults.pop((fault, target), None)
            case body:
                self.lanes.take(body, source=event.source, boot=event.boot, seq=event.seq, at=at)
                self.sessions.take(body, source=event.source, boot=event.boot, seq=event.seq, at=at)

    def _moved(self, event: EventFrame, name: str, told: Judgement) -> None:
        """A node changed its state: its own word, or a checker's judgement. Nobody else's opinion counts."""
        node = self.nodes.get(name)
        if node is None:
            return
        if event.source == name:
            if event.boot >= node.boot and told.at >= node.word_at:
                node.word, node.word_at = told.state, told.at
            return
        peer = self.peers.get(event.source)
        if peer is not None and peer.kind not in (PeerKind.CHECKER, None):
            return
        if node.told is None or told.at >= node.told.at:
            node.told = told

    def _registry(self, item: RegistrySeen) -> None:
        self.registry = {entry.id: entry for entry in item.entries[:PEERS_MAX]}
        self.registry_at = item.at
        for name, node in self.nodes.items():
            if name not in self.registry:
                node.entry = None
        for entry in self.registry.values():
            peer = self.peers.get(entry.id)
            if peer is not None and peer.kind is None:
                peer.kind = entry.kind
            if entry.kind is PeerKind.NODE:
                node_or_none = self._node(entry.id)
                if node_or_none is not None:
                    node_or_none.entry = entry
        self._tidy()

    def _verdicts(self, item: VerdictsSeen) -> None:
        self.verdicts_at = item.at
        for node in self.nodes.values():
            node.verdict = None
        for verdict in item.verdicts:
            node_or_none = self._node(verdict.node)
            if node_or_none is not None:
                node_or_none.verdict = verdict
        self._watch_start(item.at)

    def _tidy(self) -> None:
        """Forget nodes and peers that nobody holds any more, so that changing names do not pile up."""
        if len(self.nodes) + len(self.peers) < PEERS_MAX // 2:
            return
        listed = set(self.listed()) | self.registry.keys()
        self.nodes = {name: node for name, node in self.nodes.items() if name in listed}
        self.peers = {name: peer for name, peer in self.peers.items() if name in listed or peer.gone_at is None}
        self.samples = {name: sample for name, sample in self.samples.items() if name in listed or name in self.peers}

    def _watch_start(self, now: float) -> None:
        """Note when every node is online, and every process heard, for the first time."""
        if self.started or not all(step.done for step in self.steps):
            return
        supervisor = self.supervisor()
        if supervisor is not None and table(supervisor.state, "start").get("ready") is False:
            return
        names = self.listed()
        checker = self.checker(now)
        targets = NOTHING if checker is None else table(checker.state, "targets")
        self.started = bool(names) and all(
            text(table(targets, name), "state") == NodeState.ONLINE or self._table_says_online(name) for name in names
        )
        for name, process in self.processes(now).items():
            peer = self.peers.get(name)
            if isinstance(process, dict) and process.get("kind") != REDIS and (peer is None or peer.state_at is None):
                self.started = False

    def _table_says_online(self, name: str) -> bool:
        node = self.nodes.get(name)
        return node is not None and node.verdict is not None and node.verdict.state is NodeState.ONLINE


def leads(peer: Peer) -> bool:
    """Say whether this checker leads, by its own word. In tilt and in panic it does: what it decided before holds."""
    leader = text(peer.state, "leader")
    return leader == peer.id if leader else text(peer.state, "mode") == CheckerMode.LEADING


def node_state(word: str | None) -> NodeState | None:
    """Return the state with this name, None if there is none; nobody but the watcher says `stale`."""
    try:
        state = NodeState(word or "")
    except ValueError:
        return None
    return None if state is NodeState.STALE else state


def _complain(complaints: dict[str, Complaint], complaint: Complaint) -> None:
    if complaint.id not in complaints and len(complaints) >= BAD_MAX:
        del complaints[next(iter(complaints))]
    complaints[complaint.id] = complaint


def _heard(item: Input) -> float:
    match item:
        case PeerState(heard_at=at) | PeerBeat(heard_at=at) | Happened(heard_at=at):
            return at
        case _:
            return item.at
