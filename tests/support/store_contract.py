"""What every message log has to do: run on the real one and on the fake."""

import asyncio
from dataclasses import replace

from sample_cluster.core.claim import Claimed, Expired, Granted, Owner, Revoked, Stale
from sample_cluster.core.feed import Entry, follow
from sample_cluster.core.messages import Level, Position
from sample_cluster.core.repair import Repair
from sample_cluster.node.store import FORKED, OUT_OF_ORDER, Append, Appended, AppendOutcome, Connected, Store


async def append(
    store: Store,
    cseq: int,
    *,
    after: int = 0,
    session: str = "s",
    data: str = '"x"',
    encoding: str | None = None,
    level: Level = Level.FAST,
) -> AppendOutcome:
    """Append one message to channel `c` and return what became of it."""
    done: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
    assert store.append(
        Append(
            channel="c",
            session=session,
            cseq=cseq,
            after=after,
            id=f"{session}-{cseq}",
            ts=7,
            data=data,
            encoding=encoding,
            done=done.set_result,
            level=level,
        )
    )
    return await done


async def claim(store: Store, who: Connected, *, new: bool = False) -> Claimed:
    """Claim a session and return the answer."""
    done: asyncio.Future[Claimed] = asyncio.get_running_loop().create_future()
    store.claim(who, new=new, done=done.set_result)
    return await done


async def snapshot(store: Store, who: Connected, **acks: Position) -> Claimed:
    """Note up to where a session has acknowledged and return the answer."""
    done: asyncio.Future[Claimed] = asyncio.get_running_loop().create_future()
    store.snapshot(who, acks, done=done.set_result)
    return await done


async def check_store(store: Store, *, replicas: int = 0) -> None:
    """Go through the contract on an empty server with so many replicas; `store.run` has to be running."""
    await _check_appending(store, replicas)
    await _check_reading(store)
    await _check_repairs(store)
    await _check_forks(store)
    await _check_sessions(store)


async def _check_appending(store: Store, replicas: int) -> None:
    empty = await store.read("c", after=0)
    assert (empty.top, empty.nonce, empty.entries) == (0, 0, ())
    assert await store.recent("c", most=3) == empty
    assert await append(store, 1) == Appended(1, dup=False)
    assert await append(store, 2, after=1, data='{"a b":"ü"}') == Appended(2, dup=False)
    assert await append(store, 1, session="other") == Appended(3, dup=False)
    # A repetition is found again, the last one and earlier ones.
    assert await append(store, 2) == Appended(2, dup=True)
    assert await append(store, 1) == Appended(1, dup=True)
    # Whoever would overtake a message that was refused is refused.
    assert await append(store, 5, after=4) == OUT_OF_ORDER
    assert await append(store, 5, after=2, data='"eA=="', encoding="base64") == Appended(4, dup=False)
    page = await store.read("c", after=0)
    assert page.epoch == empty.epoch
    assert follow(empty.end, page) == page.entries
    # Without a replica a message is as safe as one that was only written.
    assert await append(store, 6, after=5, level=Level.SAFE) == Appended(5, dup=False, replicas=replicas)
    assert await append(store, 6, after=5, level=Level.SAFE) == Appended(5, dup=True, replicas=replicas)
    assert await append(store, 9, after=8, level=Level.SAFE) == OUT_OF_ORDER


async def _check_reading(store: Store) -> None:
    page = await store.read("c", after=0)
    assert [entry.id for entry in page.entries] == ["s-1", "s-2", "other-1", "s-5", "s-6"]
    assert len({entry.nonce for entry in page.entries}) == 5
    assert page.entries[1] == Entry(
        seq=2,
        nonce=page.entries[1].nonce,
        prev=page.entries[0].nonce,
        id="s-2",
        ts=7,
        data='{"a b":"ü"}',
    )
    assert (page.entries[3].data, page.entries[3].encoding) == ('"eA=="', "base64")
    part = await store.read("c", after=1, most=2)
    assert [entry.seq for entry in part.entries] == [2, 3]
    assert part.end == page.end
    assert (await store.read("c", after=5)).entries == ()
    newest = await store.recent("c", most=2)
    assert newest == replace(page, entries=page.entries[-2:])
    assert await store.recent("c", most=99) == page
    assert await store.ends(["c"]) == {"c": page.end}


async def _check_repairs(store: Store) -> None:
    end = (await store.read("c", after=0)).end
    back = Entry(seq=6, nonce=77, prev=end.nonce, id="s-7", ts=8, data="7")
    more = Entry(seq=7, nonce=78, prev=77, id="gone-3", ts=9, data='"eA=="', encoding="base64")
    repair = Repair(end=end, epoch=end.epoch, entries=(back, more), to=None)
    assert not await store.restore("c", replace(repair, end=replace(end, seq=4)))
    assert not await store.restore("c", replace(repair, end=replace(end, nonce=end.nonce ^ 1)))
    assert not await store.restore("c", replace(repair, end=replace(end, epoch="ffffffff")))
    assert (await store.read("c", after=0)).end == end
    assert await store.restore("c", repair)
    assert not await store.restore("c", repair), "the log has moved"
    assert (await store.read("c", after=5)).entries == (back, more)
    # What was put back counts as published.
    assert await append(store, 7) == Appended(6, dup=True)
    assert await append(store, 3, session="gone") == Appended(7, dup=True)
    assert await append(store, 4, session="gone", after=3) == Appended(8, dup=False)
    # A log that is gone begins again under the epoch that it had.
    lost = Repair(end=(await store.read("lost", after=0)).end, epoch="0abcdef0", entries=(more,), to=None)
    assert await store.restore("lost", lost)
    assert await store.recent("lost", most=3) == replace(
        await store.read("lost", after=0), epoch="0abcdef0", top=7, nonce=78, entries=(more,)
    )


async def _check_forks(store: Store) -> None:
    end = (await store.read("c", after=0)).end
    forks: list[str] = []
    seen, on_fork = store.seen, store.on_fork
    store.on_fork = forks.append
    for place in (replace(end, seq=end.seq + 1), replace(end, nonce=end.nonce ^ 1), replace(end, epoch="ffffffff")):
        store.seen = lambda _channel, place=place: place  # type: ignore[misc]  # The default is the loop's value.
        assert await append(store, 1, session="new") == FORKED
    assert forks == ["c", "c", "c"]
    store.seen = lambda _channel: end
    assert await append(store, 1, session="new") == Appended(end.seq + 1, dup=False)
    store.seen, store.on_fork = seen, on_fork


async def _check_sessions(store: Store) -> None:
    place = Position(epoch="0000000a", seq=3, nonce=9)
    first = Connected(session="k", attempt=1, node="n1", connection="x@1")
    second = Connected(session="k", attempt=2, node="n2", connection="y@1")
    assert await claim(store, first, new=True) == Granted()
    assert await claim(store, first, new=True) == Granted(), "the answer may have been lost"
    assert await claim(store, replace(first, connection="x@2")) == Stale(1)
    assert await snapshot(store, first, c=place) == Granted()
    assert await claim(store, second) == Granted(before=Owner(node="n1", connection="x@1"), positions={"c": place})
    assert await claim(store, first) == Stale(2)
    assert await snapshot(store, first, c=place) == Stale(2)
    assert await snapshot(store, second, c=replace(place, seq=4), ü=place) == Granted()
    third = replace(first, attempt=7)
    assert await claim(store, third) == Granted(
        before=Owner(node="n2", connection="y@1"), positions={"c": replace(place, seq=4), "ü": place}
    )
    # A session that nobody knows any more is given away all the same.
    forgotten = Connected(session="forgotten", attempt=5, node="n1", connection="z@1")
    assert await claim(store, forgotten) == Expired()
    assert await claim(store, replace(forgotten, attempt=4)) == Stale(5)
    assert await store.revoke("k") == Owner(node="n1", connection="x@1")
    assert await claim(store, replace(third, attempt=8)) == Revoked()
    assert await snapshot(store, third) == Revoked()
    assert await store.revoke("nobody") is None
    assert await claim(store, Connected(session="nobody", attempt=1, node="n1", connection="x@1"), new=True) == (
        Revoked()
    )
