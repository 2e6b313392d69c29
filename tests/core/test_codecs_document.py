"""docs/client-protocol.md says what the codecs do."""

import itertools
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from sample_cluster.codecs import SUBPROTOCOLS, limits
from sample_cluster.codecs.json import JSON
from sample_cluster.codecs.limits import CAPS_MAX, CHANNELS_MAX, DATA_MAX, FRAMES_MAX, RETRIES_MAX, TEXT_MAX
from sample_cluster.codecs.payload import DATA_DEPTH_MAX
from sample_cluster.codecs.protobuf import PROTOBUF
from sample_cluster.core.messages import (
    Ack,
    ClientFrame,
    GoAwayReason,
    Level,
    Message,
    NodeFrame,
    Published,
    Subscribe,
    UnknownFrame,
)
from sample_cluster.node.credentials import message_id

TEXT = (Path(__file__).parents[2] / "docs/client-protocol.md").read_text(encoding="utf-8")
LINES = re.findall(r"^(client|node)> +(\{.*)$", TEXT, re.MULTILINE)
ROWS = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|", TEXT, re.MULTILINE))


@pytest.mark.parametrize(("speaker", "text"), LINES)
def test_every_line_of_the_example_is_a_frame(speaker: str, text: str) -> None:
    decode = JSON.decode_client if speaker == "client" else JSON.decode_node
    frames = decode(text)
    assert len(frames) == 1
    for frame in frames:
        assert not isinstance(frame, UnknownFrame)
        assert decode(JSON.encode(frame).decode()) == frames


def test_the_example_keeps_to_the_rules() -> None:
    assert len(LINES) > 20
    frames = [JSON.decode_node(text)[0] for speaker, text in LINES if speaker == "node"]
    messages = [frame for frame in frames if isinstance(frame, Message)]
    for before, after in itertools.pairwise(messages):
        assert (after.seq == before.seq + 1) == (after.prev == before.nonce)
    session = re.search(r'"session":"([^"]+)"', TEXT)
    assert session is not None
    assert [message.id for message in messages[:2]] == [message_id(session[1], "room.1", cseq) for cseq in (1, 2)]


@pytest.mark.parametrize(
    ("words", "frame"),
    [
        ("subscribe id 1 to room.1", Subscribe(id=1, channel="room.1")),
        ("published cseq 1 at 43", Published(channel="room.1", cseq=1, seq=43)),
        ("ack of room.1 up to 44", Ack(acks={"room.1": 44})),
    ],
)
def test_the_bytes_are_those_of_the_codec(words: str, frame: Subscribe | Published | Ack) -> None:
    assert re.search(rf"^{words} +{PROTOBUF.encode(frame).hex(' ')}$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("kind", [*get_args(ClientFrame), *get_args(NodeFrame)])
def test_every_frame_is_listed_with_all_of_its_fields(kind: type[ClientFrame | NodeFrame]) -> None:
    row = ROWS[kind.__name__.lower()]
    for item in fields(kind):
        name = "from" if (kind, item.name) == (Subscribe, "start") else item.name
        assert re.search(rf"`{name}\b", row), f"{kind.__name__}.{name}"


def test_words_and_limits_are_those_of_the_code() -> None:
    for word in (*SUBPROTOCOLS, *GoAwayReason):
        assert f"`{word}`" in TEXT
    for level in Level:
        assert f'`"{level}"`' in TEXT
    for number, what in (
        (CHANNELS_MAX, "channels in one"),
        (CAPS_MAX, "`caps`"),
        (RETRIES_MAX, "`retries`"),
        (FRAMES_MAX, "frames of this protocol"),
        (DATA_DEPTH_MAX, "levels"),
    ):
        assert f"{number:,} {what}" in " ".join(TEXT.split()), what
    assert f"bytes of data ({DATA_MAX})" in TEXT
    for most in (limits.KEY_MAX, limits.NAME_MAX, limits.WORD_MAX, TEXT_MAX):
        assert f"text up to {most:,} |" in TEXT
