"""The `data` of messages, and JSON text from outside: parsed strictly, whatever subprotocol it came by.

Strictly means: one value of RFC 8259 and nothing after it; no NaN, no number that is none in double precision, no name
twice in one object, no half of a surrogate pair, and no nesting past a depth.
"""

import base64
import binascii
import json
import math
from typing import Final, NoReturn

from sample_cluster.errors import RemoteProtocolError
from wsmon.protocol.fields import DEPTH_MAX
from wsmon.protocol.frames import Json, JsonObject

BASE64: Final = "base64"
"""The one encoding of data that is not a JSON value."""
DATA_DEPTH_MAX: Final = DEPTH_MAX - 1
"""Most arrays and objects inside each other in data; the frame around it is one more in JSON."""
NUMBER_MAX: Final = int(1.7976931348623157e308)
"""An integer beyond it is infinite to everybody who reads numbers as doubles."""
_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def refusal(reason: str) -> RemoteProtocolError:
    """Return the error for a `reason` that may quote the peer: short and in printable ASCII.

    It becomes the reason of a close frame, where 123 bytes have room, and a line of a log.
    """
    return RemoteProtocolError(reason[:200].replace("…", "..").encode("unicode_escape").decode()[:200])


def dump_json(value: Json) -> str:
    """Return the compact JSON text of `value`.

    Raises:
        ValueError: a number is NaN or infinite, or the nesting has no end that we would reach.

    """
    try:
        return _COMPACT.encode(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_json(text: str, *, what: str, depth_max: int = DEPTH_MAX) -> Json:
    """Return the value in `text`; `what` names it in errors.

    Raises:
        RemoteProtocolError: it is not JSON in the strict sense of this module.

    """
    try:
        value: Json = _DECODER.decode(text)
        _check(value, depth_max)
        # Half a surrogate pair is in the text as it stands, or comes in as an escape.
        if not text.isascii():
            text.encode()
        if "\\u" in text:
            _COMPACT.encode(value).encode()
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError, too.
        raise refusal(f"{what} is not JSON: {error}") from None
    return value


def encode_data(data: Json) -> str:
    """Return the compact JSON text of a message's data.

    Raises:
        RemoteProtocolError: a number is NaN or infinite, a text is not Unicode (half a surrogate pair), or the nesting
            is endless.

    """
    try:
        text = dump_json(data)
        if not text.isascii():
            text.encode()
    except ValueError as error:  # UnicodeEncodeError is one, too.
        raise refusal(f"data has no JSON text: {error}") from None
    return text


def data_size(data: Json, encoding: str | None) -> int | None:
    """Return how many bytes of `DATA_MAX` the data takes: of its compact JSON text, or of what base64 stands for.

    None means that it cannot be published: the encoding is unknown, or `data` is not in it. Whoever has the JSON text
    already need not ask for data without an encoding.

    Raises:
        RemoteProtocolError: see `encode_data`.

    """
    if encoding is None:
        return len(encode_data(data).encode())
    raw = decode_base64(data) if encoding == BASE64 else None
    return None if raw is None else len(raw)


def decode_base64(text: Json) -> bytes | None:
    """Return the bytes that `text` stands for; None if it is not their base64, the only one that they have.

    The standard alphabet with padding, no line ends, and no stray bits in the last digit (RFC 4648, section 3.5): one
    text for the same bytes, or two subscribers would see different messages.
    """
    if not isinstance(text, str):
        return None
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is the refusal of text that is not ASCII.
        return None
    return raw if encode_base64(raw) == text else None


def encode_base64(raw: bytes) -> str:
    """Return the base64 text of `raw`."""
    return base64.b64encode(raw).decode("ascii")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, Json]]) -> JsonObject:
    """Refuse a name that stands twice in an object: readers disagree about which one counts."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return document


def _check(value: Json, levels: int) -> None:
    """Refuse numbers out of range, such as 1e999, and more than `levels` arrays and objects inside each other."""
    if isinstance(value, dict | list):
        if levels == 0:
            raise ValueError("nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            # Most items are text: half the time of a call for each.
            if not isinstance(item, str):
                _check(item, levels - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is out of range")
    elif isinstance(value, int) and not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise ValueError("a number is out of range")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)
