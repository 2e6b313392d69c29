"""When one look at a cluster has seen everybody."""

from wsmon.headless import Look
from wsmon.model.inputs import PeerGarbage, PeerGone, PeerState, RedisSeen, RegistrySeen, VerdictsSeen
from wsmon.protocol.registry import RegistryEntry
from wsmon.protocol.states import PeerKind


def state(name: str) -> PeerState:
    return PeerState(id=name, boot=1, rev=1, at=0.0, state={}, heard_at=0.0)


def registry(*names: str) -> RegistrySeen:
    return RegistrySeen(
        entries=tuple(
            RegistryEntry(kind=PeerKind.NODE, id=name, boot=1, admin="ws+unix:///x", version="1") for name in names
        ),
        at=0.0,
    )


def test_a_look_is_complete_when_all_registered_peers_and_the_verdicts_were_heard() -> None:
    look = Look(supervisor=True, redis=True)
    assert not look.take(state("supervisor"))
    assert not look.take(registry("n1", "n2"))
    assert not look.take(VerdictsSeen(verdicts=(), at=0.0))
    assert not look.take(state("n1"))
    assert look.take(PeerGone(id="n2", reason="refused", at=0.0))


def test_a_peer_that_speaks_garbage_is_not_waited_for() -> None:
    look = Look(supervisor=False, redis=True)
    look.take(registry("n1"))
    look.take(VerdictsSeen(verdicts=(), at=0.0))
    assert look.take(PeerGarbage(id="n1", reason="?", at=0.0))


def test_without_redis_the_supervisor_is_enough() -> None:
    assert Look(supervisor=True, redis=False).take(state("supervisor"))
    look = Look(supervisor=True, redis=True)
    look.take(state("supervisor"))
    assert look.take(RedisSeen(state="away", at=0.0))
