"""Golden transcripts, against a peer that is right, and against one that does one thing wrong. Time jumps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from tests.support.admin_peer import AdminPeer, Wrong
from wsmon.agent.endpoint import parse_endpoint
from wsmon.agent.server import AdminServer, Identity, Tokens
from wsmon.conformance.performance import Outcome, Verdict
from wsmon.conformance.stage import Stage, shipped
from wsmon.errors import OperationRefusedError, UnreachableError
from wsmon.protocol.events import DrainStarted
from wsmon.protocol.frames import Command, JsonObject, Page
from wsmon.protocol.states import PeerKind, Role

PORT = 9101
URL = f"ws://127.0.0.1:{PORT}/admin"
NAMES = {transcript.name for transcript in shipped()}
TOKENS = Tokens(read="reader", control="right")


async def conform(token: str = "right") -> dict[str, Outcome]:
    stage = Stage(parse_endpoint(URL), token=token)
    outcomes = await stage.play_all(shipped(), await stage.scout())
    return {outcome.name: outcome for outcome in outcomes}


def of(outcomes: dict[str, Outcome], verdict: Verdict) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome.verdict is verdict}


def story(outcomes: dict[str, Outcome]) -> str:
    """Return where each failure is, for the message of a test."""
    return "\n".join(
        f"{name}:{outcome.steps[-1].number} wanted {outcome.steps[-1].expected}, came {outcome.steps[-1].came}"
        for name, outcome in outcomes.items()
        if outcome.verdict is Verdict.FAILED
    )


async def against(
    wrong: Wrong, role: Role = Role.CONTROL, *, eventful: bool = True
) -> tuple[dict[str, Outcome], AdminPeer]:
    peer = AdminPeer(wrong, role, eventful=eventful)
    await peer.start(PORT)
    try:
        return await conform(), peer
    finally:
        await peer.stop()


async def test_who_does_everything_right_passes_everything() -> None:
    outcomes, peer = await against(Wrong.NOTHING)
    assert of(outcomes, Verdict.FAILED) == set(), story(outcomes)
    assert of(outcomes, Verdict.SKIPPED) == {"read-only"}
    assert peer.done == 0


EVERYWHERE = NAMES - {"read-only", "token"}
BREAKS_OFF = {"garbage", "wrong-fields", "wrong-side"}
ANSWERED = {*BREAKS_OFF, "oversize", "ping", "strangers", "unknown-op"}
FOUND = {
    Wrong.ANY_SUBPROTOCOL: {"handshake"},
    Wrong.NO_TOKEN: {"token"},
    Wrong.FORBIDDEN: {"token"},
    # Of whom no hello is known no operation is.
    Wrong.LATE_HELLO: EVERYWHERE - {"dry-run", "same-key", "unknown-op"},
    Wrong.BEAT_FIRST: EVERYWHERE - {"dry-run", "same-key", "unknown-op"},
    Wrong.NULL: EVERYWHERE,
    Wrong.BINARY: EVERYWHERE,
    Wrong.PROTOCOL: {"hello"},
    Wrong.KIND: {"hello"},
    Wrong.OPS: {"hello"},
    Wrong.TELLS_ALL: {"snapshot", "since"},
    Wrong.OTHER_BOOT: {"snapshot"},
    Wrong.NO_STATE: {"snapshot", "deltas"},
    Wrong.PREV: {"deltas", "since"},
    Wrong.PATCH: {"deltas"},
    Wrong.HASTY: {"pace"},
    Wrong.DEAF: {"deltas", "resync"},
    Wrong.OLD_SNAPSHOT: {"deltas", "resync"},
    Wrong.UNKNOWN_SINCE: {"resync"},
    Wrong.IGNORES_SINCE: {"since"},
    Wrong.NO_BEATS: {"beats"},
    Wrong.SLOW_BEATS: {"beats"},
    Wrong.FAST_BEATS: {"beats"},
    Wrong.SEQ_HOLE: {"events"},
    Wrong.SEQ_TWICE: {"events"},
    Wrong.EVENT_SOURCE: {"events"},
    Wrong.NO_PONG: ANSWERED,
    Wrong.PONG_ID: {"ping"},
    Wrong.PONG_AT: {"ping"},
    Wrong.PAGE_LIMIT: {"query"},
    Wrong.PAGE_AGAIN: {"query"},
    Wrong.NO_PAGE: {"query"},
    Wrong.UNKNOWN_OK: {"unknown-op"},
    Wrong.UNKNOWN_CODE: {"unknown-op"},
    Wrong.UNKNOWN_CLOSES: {"unknown-op"},
    Wrong.DRY_DONE: {"dry-run"},
    Wrong.DRY_NOTHING: {"dry-run", "same-key"},
    Wrong.DRY_SILENT: {"dry-run", "same-key", "unknown-op"},
    Wrong.KEY_ID: {"same-key"},
    Wrong.KEY_OTHER: {"same-key"},
    Wrong.STRICT: {"strangers"},
    Wrong.STRICT_FIELDS: {"strangers"},
    Wrong.GARBAGE_KEPT: {"garbage"},
    Wrong.GARBAGE_CODE: BREAKS_OFF,
    Wrong.GARBAGE_ALL: BREAKS_OFF,
    Wrong.FIELDS_KEPT: {"wrong-fields"},
    Wrong.SIDE_KEPT: {"wrong-side"},
    Wrong.LARGE_TAKEN: {"oversize"},
    Wrong.SMALL_ONLY: {"oversize"},
}


@pytest.mark.parametrize(
    "wrong", [wrong for wrong in Wrong if wrong is not Wrong.NOTHING], ids=lambda wrong: wrong.name
)
async def test_what_is_wrong_is_found_where_it_belongs_and_nowhere_else(wrong: Wrong) -> None:
    outcomes, _ = await against(wrong)
    assert of(outcomes, Verdict.FAILED) == FOUND[wrong], story(outcomes)


def test_every_transcript_is_seen_to_fail_by_itself() -> None:
    """`read-only`, which only a reader is asked, does so below."""
    specific = [names for names in FOUND.values() if len(names) <= len(ANSWERED)]
    assert set().union(*specific) == NAMES - {"read-only"}


async def test_a_reader_is_asked_what_concerns_readers() -> None:
    outcomes, _ = await against(Wrong.NOTHING, Role.READ)
    assert of(outcomes, Verdict.FAILED) == set(), story(outcomes)
    assert of(outcomes, Verdict.SKIPPED) == {"unknown-op", "dry-run", "same-key"}
    for wrong in (Wrong.UNKNOWN_OK, Wrong.UNKNOWN_CODE):
        outcomes, _ = await against(wrong, Role.READ)
        assert of(outcomes, Verdict.FAILED) == {"read-only"}


async def test_what_did_not_come_is_not_called_right() -> None:
    outcomes, _ = await against(Wrong.NOTHING, eventful=False)
    assert of(outcomes, Verdict.SKIPPED) == {"read-only", "events"}
    assert outcomes["events"].why == "no event came that could be judged"


async def test_who_cannot_be_reached_is_not_judged() -> None:
    with pytest.raises(UnreachableError, match=str(PORT)):
        await conform()
    peer = AdminPeer()
    await peer.start(PORT)
    with pytest.raises(UnreachableError, match="HTTP 401"):
        await conform("wrong")
    await peer.stop()


# The real thing


@dataclass
class Owner:
    """A process with an admin socket, that may be asked for nothing but what does no harm."""

    agent: AdminServer
    done: int = 0

    async def do(self, _command: Command) -> JsonObject:
        self.done += 1
        return {}

    async def live(self) -> None:
        count = 0
        while True:
            count += 1
            self.agent.publish({"count": count, "inner": {"odd": count // 2}})
            self.agent.emit(DrainStarted(node="n1", total=count))
            await asyncio.sleep(0.3)


def refuse(_command: Command) -> JsonObject:
    raise OperationRefusedError("unknown", "there is nobody of that name")


OFFERED: dict[PeerKind, dict[str, Callable[[Command], JsonObject] | None]] = {
    PeerKind.NODE: {"drain": lambda _: {"connections": 1}, "probe": None},
    PeerKind.CHECKER: {"forget": refuse, "hold": lambda _: {"held": True}},
    PeerKind.GATEWAY: {},
    PeerKind.FLEET: {"scale": lambda _: {}, "rate": lambda _: {"rate": 1}},
    PeerKind.SUPERVISOR: {"kill": refuse, "thaw": refuse},
}


@pytest.fixture(params=[*OFFERED])
async def owner(request: pytest.FixtureRequest) -> AsyncIterator[Owner]:
    kind: PeerKind = request.param
    process = Owner(AdminServer(Identity(kind=kind, id="x1", version="1", boot=7)))
    for op, check in OFFERED[kind].items():
        process.agent.operation(op, process.do, check=check)
    if kind is PeerKind.NODE:
        process.agent.query("sessions", lambda query: Page(id=query.id, rows=({"session": "s"},)))
    await process.agent.serve(URL, tokens=TOKENS)
    life = asyncio.get_running_loop().create_task(process.live())
    yield process
    life.cancel()
    await process.agent.close()


async def test_every_kind_of_process_of_ours_conforms_and_nothing_is_done_to_it(owner: Owner) -> None:
    kind = owner.agent.identity.kind
    for token, skipped in (("right", {"read-only"}), ("reader", {"unknown-op", "dry-run", "same-key"})):
        outcomes = await conform(token)
        assert of(outcomes, Verdict.FAILED) == set(), story(outcomes)
        nothing_harmless = {"dry-run", "same-key"} if kind in (PeerKind.GATEWAY, PeerKind.FLEET) else set()
        assert of(outcomes, Verdict.SKIPPED) == skipped | nothing_harmless
    assert owner.done == 0
    assert owner.agent.watchers == 0
