"""Who sees whom: what checkers, gateways, Redis, the nodes, the supervisor and wsmon itself believe of each node.

The leading checker's word is what the others are compared with; without one the health table's. Not everybody can
know everything, so words are compared by what they imply. Checkers, table and gateway speak of the same states, and
differ as soon as one trusts a node that another does not. What a node says of itself, that its process runs, or that
we reach it, contradicts only that it was removed, and that it is online.
"""

from dataclasses import replace
from enum import Enum, auto
from typing import Final

from wsmon.model.cluster import ClusterModel, Peer, leads
from wsmon.model.reading import count, table, text
from wsmon.model.standing import DEAD_WORDS
from wsmon.protocol.session import SILENCE_S
from wsmon.protocol.states import NodeState, PeerKind
from wsmon.views.beliefs_frame import SILENT, Beliefs, Observer, Opinion
from wsmon.views.text import age, clean, name, natural

NODES_MAX: Final = 256
OBSERVERS_MAX: Final = 64
DOUBTS_MAX: Final = 16
TABLE: Final = "health table"
REGISTRY: Final = "registry"
THEMSELVES: Final = "themselves"
OURSELVES: Final = "wsmon"


def _precedence(peer: Peer) -> tuple[bool, int, object]:
    """Return where a checker stands: who leads comes first, of two who think so the one with the higher epoch."""
    return not leads(peer), -(count(peer.state, "epoch") or 0), natural(peer.id)


class _Trust(Enum):
    UP = auto()
    DOUBT = auto()
    OUT = auto()
    OPEN = auto()
    """Compatible with everything."""


_TRUST: Final = {
    NodeState.ONLINE: _Trust.UP,
    NodeState.DRAINING: _Trust.UP,
    NodeState.CORDONED: _Trust.UP,
    NodeState.SUSPECT: _Trust.DOUBT,
    NodeState.REMOVED: _Trust.OUT,
    NodeState.QUARANTINED: _Trust.OUT,
    NodeState.LEFT: _Trust.OPEN,
    NodeState.JOINING: _Trust.OPEN,
    NodeState.RECOVERING: _Trust.OPEN,
    NodeState.STALE: _Trust.OPEN,
}
_PROCESS: Final = {"running": _Trust.UP, "frozen": _Trust.OUT, **dict.fromkeys(DEAD_WORDS, _Trust.OUT)}


def beliefs(model: ClusterModel, now: float) -> Beliefs:
    """Return the matrix at `now`."""
    nodes = sorted(model.listed(), key=natural)[:NODES_MAX]
    checkers = sorted(model.of_kind(PeerKind.CHECKER), key=_precedence)
    judge, words = _judge(model, checkers, nodes, now)
    observers = [_checker(peer, nodes, words, now) for peer in checkers[:OBSERVERS_MAX]]
    leaders = [observer.leader for observer in observers if not observer.old and observer.leader]
    if leaders:
        observers = [
            replace(observer, leader_odd=bool(observer.leader) and observer.leader != leaders[0] and not observer.old)
            for observer in observers
        ]
    if model.verdicts_at is not None:
        observers.append(_table(model, nodes, words, now))
    gateways = sorted(model.of_kind(PeerKind.GATEWAY), key=lambda peer: natural(peer.id))
    observers += [_gateway(peer, nodes, words, now) for peer in gateways[:OBSERVERS_MAX]]
    if model.registry_at is not None:
        observers.append(_registry(model, nodes, words, now))
    observers.append(_themselves(model, nodes, words, now))
    supervisor = model.supervisor()
    if supervisor is not None:
        observers.append(_supervisor(supervisor, nodes, words, now))
    observers.append(_ourselves(model, nodes, words, now))
    return Beliefs(
        nodes=tuple(name(node) for node in nodes),
        observers=tuple(observers),
        doubts=_doubts(nodes, observers, judge, words, leader=leaders[0] if leaders else ""),
    )


def _judge(model: ClusterModel, checkers: list[Peer], nodes: list[str], now: float) -> tuple[str, dict[str, NodeState]]:
    """Return who is believed, and what it says of each node."""
    fresh = [peer for peer in checkers if peer.fresh(now)]
    leading = next((peer for peer in fresh if leads(peer)), None)
    at = model.verdicts_at
    if leading is None and at is not None and now - at <= SILENCE_S:
        verdicts = {item: node.verdict for item, node in model.nodes.items()}
        return TABLE, {item: verdict.state for item in nodes if (verdict := verdicts.get(item)) is not None}
    peer = leading or next(iter(fresh), None)
    if peer is None:
        return "", {}
    told = {item: _state(text(table(peer.state, "targets", item), "state")) for item in nodes}
    return name(peer.id), {item: state for item, state in told.items() if state is not None}


def _state(word: str | None) -> NodeState | None:
    try:
        return NodeState(word or "")
    except ValueError:
        return None


def _seen(word: str | None, judged: NodeState | None, *, old_s: float | None, epoch: int | None = None) -> Opinion:
    """Return the opinion of somebody who speaks of the same states as the judge."""
    if word is None:
        return SILENT
    state = _state(word)
    odd = False
    if old_s is None and state is not None and judged is not None:
        trust = {_TRUST[state], _TRUST[judged]}
        odd = len(trust) > 1 and _Trust.OPEN not in trust
    return Opinion(word=clean(str(word), 16), odd=odd, old_s=old_s, epoch=epoch)


def _lives(word: str, trust: _Trust, judged: NodeState | None, *, old_s: float | None) -> Opinion:
    """Return the opinion of somebody who knows only whether a node lives."""
    odd = False
    if old_s is None and judged is not None:
        odd = trust is _Trust.UP and judged is NodeState.REMOVED
        odd |= trust is _Trust.OUT and _TRUST[judged] is _Trust.UP
    return Opinion(word=word, odd=odd, old_s=old_s)


def _old_s(peer: Peer, now: float) -> float | None:
    """Return how old the word of a peer is if it is older than promised."""
    return None if peer.fresh(now) else age(peer.heard_at or 0.0, now)


def _checker(peer: Peer, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    targets, old_s = table(peer.state, "targets"), _old_s(peer, now)
    leader = text(peer.state, "leader")
    return Observer(
        name=name(peer.id),
        leads=leads(peer) and old_s is None,
        epoch=count(peer.state, "epoch"),
        heard_s=age(peer.heard_at, now),
        old=old_s is not None,
        leader=None if leader is None else name(leader),
        opinions=tuple(_seen(text(table(targets, item), "state"), words.get(item), old_s=old_s) for item in nodes),
    )


def _table(model: ClusterModel, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    at = model.verdicts_at
    old = at is None or now - at > SILENCE_S
    old_s = age(at, now) if old else None
    verdicts = [None if (node := model.nodes.get(item)) is None else node.verdict for item in nodes]
    return Observer(
        name=TABLE,
        epoch=max((verdict.epoch for verdict in verdicts if verdict is not None), default=None),
        heard_s=age(at, now),
        old=old,
        opinions=tuple(
            SILENT if verdict is None else _seen(verdict.state, words.get(item), old_s=old_s, epoch=verdict.epoch)
            for item, verdict in zip(nodes, verdicts, strict=True)
        ),
    )


def _gateway(peer: Peer, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    backends, old_s = table(peer.state, "backends"), _old_s(peer, now)
    opinions = []
    for item in nodes:
        word = text(table(backends, item), "state")
        if word is None and backends:
            opinions.append(_lives("absent", _Trust.OUT, words.get(item), old_s=old_s))
        else:
            opinions.append(_seen(word, words.get(item), old_s=old_s))
    return Observer(
        name=name(peer.id), heard_s=age(peer.heard_at, now), old=old_s is not None, opinions=tuple(opinions)
    )


def _registry(model: ClusterModel, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    at = model.registry_at
    old = at is None or now - at > SILENCE_S
    old_s = age(at, now) if old else None
    # A lease outlives its holder by seconds: that a removed node is still listed says nothing.
    opinions = tuple(
        _lives("listed", _Trust.OPEN, None, old_s=old_s)
        if item in model.registry
        else _lives("absent", _Trust.OUT, words.get(item), old_s=old_s)
        for item in nodes
    )
    return Observer(name=REGISTRY, heard_s=age(at, now), old=old, opinions=opinions)


def _themselves(model: ClusterModel, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    opinions = []
    for item in nodes:
        node, peer = model.nodes.get(item), model.peers.get(item)
        if node is None or node.word is None or peer is None:
            opinions.append(SILENT)
            continue
        trust = _TRUST[node.word]
        opinions.append(_lives(str(node.word), trust, words.get(item), old_s=_old_s(peer, now)))
    return Observer(name=THEMSELVES, opinions=tuple(opinions))


def _supervisor(peer: Peer, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    processes, old_s = table(peer.state, "processes"), _old_s(peer, now)
    opinions = []
    for item in nodes:
        status = text(table(processes, item), "status")
        if status is None:
            opinions.append(SILENT)
        else:
            trust = _PROCESS.get(status, _Trust.OPEN)
            opinions.append(_lives(clean(status, 16), trust, words.get(item), old_s=old_s))
    return Observer(
        name=name(peer.id), heard_s=age(peer.heard_at, now), old=old_s is not None, opinions=tuple(opinions)
    )


def _ourselves(model: ClusterModel, nodes: list[str], words: dict[str, NodeState], now: float) -> Observer:
    opinions = []
    for item in nodes:
        peer = model.peers.get(item)
        if peer is None or peer.heard_at is None:
            opinions.append(_lives("unreached", _Trust.OPEN, None, old_s=None))
        elif peer.fresh(now):
            opinions.append(_lives("reached", _Trust.UP, words.get(item), old_s=None))
        else:
            word = "silent" if peer.gone_at is None else "gone"
            opinions.append(_lives(word, _Trust.OUT, words.get(item), old_s=None))
    return Observer(name=OURSELVES, opinions=tuple(opinions))


def _itself(observer: Observer) -> str:
    return "itself" if observer.leader == observer.name else observer.leader or ""


def _doubts(
    nodes: list[str], observers: list[Observer], judge: str, words: dict[str, NodeState], *, leader: str
) -> tuple[str, ...]:
    doubts = [
        f"{observer.name} takes {_itself(observer)} for the leader, not {leader}"
        for observer in observers
        if observer.leader_odd
    ]
    for index, item in enumerate(nodes):
        judged = words.get(item)
        for observer in observers:
            opinion = observer.opinions[index]
            if opinion.odd and judged is not None:
                who = "it" if observer.name == THEMSELVES else observer.name
                doubts.append(f"{name(item)}: {who} says {opinion.word}, {judge} says {judged}")
                if len(doubts) >= DOUBTS_MAX:
                    return tuple(doubts)
    return tuple(doubts)
