"""A short run over broken payloads; `make fuzz` is the long one."""

from typing import get_args

import pytest

from sample_cluster.codecs.json import JSON, JsonCodec
from sample_cluster.codecs.limits import SEQ_MAX
from sample_cluster.core.messages import ClientFrame, NodeFrame, Pong, UnknownFrame
from tests.fuzz.harness import JSON_SEEDS, PROTOBUF_SEEDS, BrokenPromiseError, Tally, examine, payload_of, run


def test_decoders_return_frames_or_refuse() -> None:
    tally = run(seed=20_260_101, numbers=range(4_000))
    assert tally.executions == 8_000
    # A run that only ever refuses, or only ever accepts, examines nothing.
    assert 0.2 < tally.refused / tally.executions < 0.9
    kinds = {kind.__name__ for kind in (*get_args(ClientFrame), *get_args(NodeFrame), UnknownFrame)}
    assert {*tally.frames} == kinds


def test_equal_seeds_make_equal_payloads() -> None:
    first = [payload_of(7, number) for number in range(50)]
    assert first == [payload_of(7, number) for number in range(50)]
    assert first != [payload_of(8, number) for number in range(50)]
    assert len(JSON_SEEDS) == len(PROTOBUF_SEEDS)


class Careless(JsonCodec):
    """A decoder with one of the faults that the examination is for."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def decode_client(self, payload: str | bytes) -> tuple[ClientFrame | UnknownFrame, ...]:
        match self.fault:
            case "another exception":
                raise RecursionError
            case "nothing":
                return ()
            case "out of range":
                return (Pong(ts=SEQ_MAX + 1),)
            case _:
                return JSON.decode_client(payload)


@pytest.mark.parametrize("fault", ["another exception", "nothing", "out of range"])
def test_the_examination_notices(fault: str) -> None:
    payload = '{"type":"pong","ts":1}'
    examine(Careless("none"), payload, Tally())
    with pytest.raises(BrokenPromiseError):
        examine(Careless(fault), payload, Tally())
