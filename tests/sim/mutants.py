"""Safety rules of the message path, each of which can be switched off, to see that the explorer notices."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sample_cluster.core import catch_up, feed, repair, session, subscription
from sample_cluster.core.feed import Break, Entry, Feed, Page
from sample_cluster.core.messages import Message, Position
from sample_cluster.core.session import Attach, Cursor, Phase, Session
from sample_cluster.core.subscription import Subscription, Verdict
from tests.sim import client_side, node_side, world
from tests.support.model_redis import ModelRedis, Reply

Patch = tuple[object, str, object]


def _same_nonces() -> ModelRedis:
    redis = ModelRedis()
    redis.nonces = False
    return redis


def _no_fence() -> ModelRedis:
    redis = ModelRedis()
    redis.fence = False
    return redis


def _no_dedupe() -> ModelRedis:
    redis = ModelRedis()
    redis.dedupe = False
    return redis


def _no_fork_check() -> ModelRedis:
    redis = ModelRedis()
    redis.fork_check = False
    return redis


class OverwritingRedis(ModelRedis):
    """Puts entries back wherever the log ends by now."""

    def _restore(self, keys: tuple[str, ...], argv: list[str]) -> Reply:
        meta = self.keys.hashes.get(keys[1], {})
        now = [meta.get("epoch", ""), meta.get("top", "0"), meta.get("nonce", "0")]
        stream = self.keys.streams.get(keys[0], {})
        for seq in [seq for seq in stream if seq >= int(argv[10])]:
            del stream[seq]
        return super()._restore(keys, [*argv[:2], *now, *argv[5:]])


class ForgetfulRedis(ModelRedis):
    """Puts entries back without what tells their repetitions."""

    def _restore(self, keys: tuple[str, ...], argv: list[str]) -> Reply:
        before = {**self.keys.strings}
        reply = super()._restore(keys, argv)
        self.keys.strings = before
        return reply


_heard, _take, _pump, _follow = Feed.heard, Subscription.take, Session._pump, feed.follow


def _heard_without_gap_check(self: Feed, epoch: str, entry: Entry) -> bool:
    here = self.position
    if here is not None and epoch == here.epoch and entry.seq > here.seq and not self.behind:
        self._take(entry)
        self._heard = entry.seq
        return True
    return _heard(self, epoch, entry)


def _heard_without_chain_check(self: Feed, epoch: str, entry: Entry) -> bool:
    here = self.position
    if here is not None and epoch == here.epoch and entry.seq == here.seq + 1 and not self.behind:
        self._take(entry)
        self._heard = entry.seq
        return True
    return _heard(self, epoch, entry)


def _follow_without_chain_check(position: Position, page: Page) -> tuple[Entry, ...] | Break:
    if page.epoch != position.epoch:
        return Break.EPOCH
    if not page.entries:
        return () if page.top == position.seq else Break.TRIMMED if page.top > position.seq else Break.FORK
    if page.entries[0].seq > position.seq + 1:
        return Break.TRIMMED
    return tuple(entry for index, entry in enumerate(page.entries) if entry.seq == position.seq + 1 + index)


def _follow_without_trim_check(position: Position, page: Page) -> tuple[Entry, ...] | Break:
    if page.epoch == position.epoch and page.entries and page.entries[0].seq > position.seq + 1:
        return _follow(page.start, page)
    return _follow(position, page)


def _no_void(_self: Feed, _position: Position) -> None:
    return None


def _take_anything(self: Subscription, message: Message) -> Verdict:
    here = self.position
    if here is not None and message.seq <= here.seq:
        self.position = Position(epoch=here.epoch, seq=message.seq, nonce=message.nonce)
        return Verdict.DELIVER
    return _take(self, message)


def _attach_at_once(self: Session, cursor: Cursor, now: float) -> None:
    ready = not (cursor.closed or cursor.live or cursor.reading) and self.phase is Phase.SERVING
    if not ready or cursor.feed is None or cursor.feed.position is None or cursor.position is None:
        _pump(self, cursor, now)
        return
    self._answer(cursor, cursor.feed.position.seq)
    cursor.live, cursor.position = True, None
    self._effects.append(Attach(cursor))


class LateSubscription(Subscription):
    """Advances its position after the message was handed out: too late if the connection ends meanwhile."""

    _before: Position | None = None

    def take(self, message: Message) -> Verdict:
        self._before = self.position
        verdict = super().take(message)
        if verdict not in {Verdict.DELIVER, Verdict.REWRITTEN}:
            self._before = None
        return verdict

    def disconnected(self) -> None:
        if self._before is not None:
            self.position, self._before = self._before, None
        super().disconnected()


def _never_again(_self: object, _name: str) -> bool:
    return False


def _no_renewed_nonces(entries: Any, log: Page, _dice: object) -> tuple[Entry, ...]:
    return tuple(
        Entry(seq=log.top + 1 + index, nonce=0, prev=0, id=item.id, ts=item.ts, data=item.data, encoding=item.encoding)
        for index, item in enumerate(entries)
    )


_append_call = node_side.append_call


def _append_in_any_order(channel: str, **arguments: Any) -> Any:
    return _append_call(channel, **{**arguments, "after": 0})


def _no_repair(*_arguments: object) -> None:
    return None


def _followers(follow: object) -> list[Patch]:
    return [(feed, "follow", follow), (session, "follow", follow)]


MUTANTS: Final[dict[str, tuple[list[Patch], Callable[[], ModelRedis]]]] = {
    "no-nonce": ([(repair, "_renumbered", _no_renewed_nonces)], _same_nonces),
    "no-gap-check": ([(Feed, "heard", _heard_without_gap_check)], ModelRedis),
    "no-chain-check": (
        [(Feed, "heard", _heard_without_chain_check), *_followers(_follow_without_chain_check)],
        ModelRedis,
    ),
    "no-trim-check": (_followers(_follow_without_trim_check), ModelRedis),
    "no-attempt-fence": ([], _no_fence),
    "no-cseq-dedupe": ([], _no_dedupe),
    "no-idle-check": ([(node_side.SimNode, "compares", False)], ModelRedis),
    "no-fork-check": ([], _no_fork_check),
    "no-rewind": ([(Feed, "void_after", _no_void)], ModelRedis),
    "no-resend": ([(client_side.SimClient, "resends", False)], ModelRedis),
    "client-drops-nothing": ([(Subscription, "take", _take_anything)], ModelRedis),
    "attach-at-once": ([(Session, "_pump", _attach_at_once)], ModelRedis),
    "late-position": ([(client_side, "Subscription", LateSubscription)], ModelRedis),
    "repair-without-compare": ([], OverwritingRedis),
    "no-id-dedupe": ([(subscription._Seen, "take", _never_again)], ModelRedis),
    "no-order-check": (
        [(node_side, "append_call", _append_in_any_order), (world, "append_call", _append_in_any_order)],
        ModelRedis,
    ),
    "no-repair": ([(catch_up, "plan_repair", _no_repair)], ModelRedis),
    "repair-forgets-cseq": ([], ForgetfulRedis),
}
"""Name → what is put in whose place, and the Redis to run with."""


@contextmanager
def mutated(name: str | None) -> Iterator[Callable[[], ModelRedis]]:
    """Switch a rule off; None: none. Gives the Redis to run with."""
    if name is None:
        yield ModelRedis
        return
    patches, make_redis = MUTANTS[name]
    before = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in patches]
    for owner, attribute, value in patches:
        setattr(owner, attribute, value)
    try:
        yield make_redis
    finally:
        for owner, attribute, value in before:
            setattr(owner, attribute, value)
