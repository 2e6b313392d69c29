"""What a node is, all voices heard: checker, the node itself, supervisor, and how old each word is.

Precedence. A checker's judgement decides. The node's own word tells more where the judgement is `online`: draining,
left, joining and cordoned are its own business. Where nobody is left who could know, the node is `stale`: the last
healthy value of a silent node is never shown as if it still held.
"""

from dataclasses import dataclass

from wsmon.model.cluster import ClusterModel, Judgement, Node, Peer, leads, node_state
from wsmon.model.reading import NOTHING, moment, table, text
from wsmon.protocol.frames import ReadOnlyJson
from wsmon.protocol.session import SILENCE_S
from wsmon.protocol.states import NodeState, PeerKind

DEAD_WORDS = frozenset({"exited", "failed"})
"""What a supervisor says of a process that is gone."""
OWN_BUSINESS = frozenset({NodeState.DRAINING, NodeState.LEFT, NodeState.JOINING, NodeState.CORDONED})


@dataclass(frozen=True, slots=True)
class Standing:
    """A node's state, since when (None: not known) and the raw reason."""

    state: NodeState
    since_at: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Voices:
    """Who is heard at a moment; made once for all nodes of a frame."""

    now: float
    checker: Peer | None
    """The checker to believe, None if none is heard."""
    targets: ReadOnlyJson
    """Its targets."""
    targets_at: float
    """When it published them."""
    judged: bool
    """Whether a checker is at work, by its socket or by the table that it keeps."""
    judged_at: float | None
    """When a checker was last heard."""
    processes: ReadOnlyJson
    """The supervisor's processes; nothing while it is silent."""


def voices(model: ClusterModel, now: float) -> Voices:
    """Return who is heard at `now`."""
    checker = model.checker(now)
    known = model.of_kind(PeerKind.CHECKER)
    heard = [peer.heard_at for peer in known if peer.heard_at is not None]
    judged = checker is not None
    if not known and model.verdicts_at is not None:
        # No checker lets us in; the registry says whether one lives, the table what it thinks.
        registered = any(entry.kind is PeerKind.CHECKER for entry in model.registry.values())
        judged = registered and now - model.verdicts_at <= SILENCE_S
        heard.append(model.verdicts_at)
    return Voices(
        now=now,
        checker=checker,
        targets=NOTHING if checker is None else table(checker.state, "targets"),
        targets_at=0.0 if checker is None or checker.state_at is None else checker.state_at,
        judged=judged,
        judged_at=max(heard, default=None),
        processes=model.processes(now),
    )


def standing(model: ClusterModel, name: str, heard: Voices) -> Standing:
    """Return what the node is."""
    node = model.nodes.get(name)
    peer = model.peers.get(name)
    target = table(heard.targets, name)
    judged = _judgement(node, target, heard)
    dead = text(table(heard.processes, name), "status") in DEAD_WORDS
    own_at = None if peer is None else peer.heard_at
    speaks = own_at is not None and heard.now - own_at <= SILENCE_S
    word = node.word if node is not None and speaks else None
    word_at = node.word_at or None if node is not None and word is not None else None
    known_since = None if judged is None or judged.at <= 0 else judged.at

    if judged is not None and judged.state is NodeState.LEFT and word is not NodeState.JOINING:
        return Standing(NodeState.LEFT, known_since, judged.reason)
    if not heard.judged and not speaks and not (dead and judged is not None and judged.state is NodeState.REMOVED):
        last = max((at for at in (own_at, heard.judged_at) if at is not None), default=None)
        if last is not None:
            about = "its process is gone and no checker is heard" if dead else "neither a checker nor the node is heard"
            return Standing(NodeState.STALE, last, about)
    if judged is None:
        if word in OWN_BUSINESS:
            return Standing(word, word_at, "")
        if dead:
            return Standing(NodeState.REMOVED, None, "its process is gone")
        return Standing(NodeState.JOINING, word_at, "no verdict of the checker yet")
    if word in OWN_BUSINESS and (
        judged.state is NodeState.ONLINE
        or (judged.state is NodeState.DRAINING and word is not NodeState.CORDONED)
        or judged.state is NodeState.LEFT
    ):
        return Standing(word, word_at, judged.reason if word is judged.state else "")
    return Standing(judged.state, known_since, judged.reason)


def _judgement(node: Node | None, target: ReadOnlyJson, heard: Voices) -> Judgement | None:
    """Return what the checkers hold true.

    The leader's own state is the truth unless table or event are newer than it. `at` is 0 if it is not known.
    """
    newest: Judgement | None = None
    if node is not None:
        newest = node.told
        verdict = node.verdict
        if verdict is not None:
            if newest is None or verdict.at >= newest.at:
                newest = Judgement(verdict.state, verdict.at, verdict.reason)
        elif not target:
            # Neither table nor checker knows the node: what was said of it once is over.
            newest = None
    state = node_state(text(target, "state"))
    if state is None:
        return newest
    if newest is not None and newest.at > heard.targets_at and heard.checker is not None:
        return newest
    since = moment(target, "since")
    if since is None and newest is not None and newest.state is state:
        since = newest.at
    reason = text(target, "reason") or (newest.reason if newest is not None and newest.state is state else "")
    return Judgement(state, since or 0.0, reason)


def leader(heard: Voices) -> Peer | None:
    """Return the checker that leads, None if none does."""
    return heard.checker if heard.checker is not None and leads(heard.checker) else None
