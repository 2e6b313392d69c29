"""What every message log has to do: run on the real one and on the fake."""

import asyncio

from sample_cluster.core.feed import Entry, follow
from sample_cluster.node.store import OUT_OF_ORDER, Append, Appended, AppendOutcome, Store


async def append(store: Store, cseq: int, *, after: int = 0, session: str = "s", data: str = '"x"') -> AppendOutcome:
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
            encoding=None,
            done=done.set_result,
        )
    )
    return await done


async def check_store(store: Store) -> None:
    """Go through the contract on an empty log; `store.run` has to be running."""
    empty = await store.read("c", after=0)
    assert (empty.top, empty.nonce, empty.entries) == (0, 0, ())
    assert await append(store, 1) == Appended(1, dup=False)
    assert await append(store, 2, after=1, data='{"a b":"ü"}') == Appended(2, dup=False)
    assert await append(store, 1, session="other") == Appended(3, dup=False)
    # A repetition is found again, the last one and earlier ones.
    assert await append(store, 2) == Appended(2, dup=True)
    assert await append(store, 1) == Appended(1, dup=True)
    # Whoever would overtake a message that was refused is refused.
    assert await append(store, 5, after=4) == OUT_OF_ORDER
    assert await append(store, 5, after=2) == Appended(4, dup=False)
    page = await store.read("c", after=0)
    assert page.epoch == empty.epoch
    assert [entry.id for entry in page.entries] == ["s-1", "s-2", "other-1", "s-5"]
    assert page.entries[1] == Entry(
        seq=2,
        nonce=page.entries[1].nonce,
        prev=page.entries[0].nonce,
        id="s-2",
        ts=7,
        data='{"a b":"ü"}',
    )
    assert follow(empty.end, page) == page.entries
    assert len({entry.nonce for entry in page.entries}) == 4
    part = await store.read("c", after=1, most=2)
    assert [entry.seq for entry in part.entries] == [2, 3]
    assert part.end == page.end
    assert await store.ends(["c"]) == {"c": page.end}
