"""Makes hostile payloads out of good ones.

Every payload depends on its `Random` alone. Some changes know the structure (a field of JSON gets a hostile value, a
field of Protobuf another wire type, with all lengths made right again), so that they come past the parser; others are
blind (bits, slices, random bytes).
"""

import json
from random import Random
from typing import Any

Wire = list[tuple[int, int, "bytes | int | Wire"]]
"""Fields of a Protobuf message: number, wire type, value."""

HOSTILE_INTEGERS = (0, 1, -1, 127, 128, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64 - 1, 2**64, 10**400)
HOSTILE_TEXTS = (
    *("", "\x00", "a b", "ü", "\u2028", "x" * 65, "x" * 129, "x" * 5_000, "\ud800", "\udfff", "now", "start"),
    *("base64", "#1", "safe", "drain", "live", "00c0ffee", "eA==", "eB==", "c{}", "\U0001f600"),
)
HOSTILE_JSON: tuple[Any, ...] = (
    *HOSTILE_INTEGERS,
    *HOSTILE_TEXTS,
    *(None, True, False, 1.0, 1.5, -0.0, 1e300, [], {}, [[]], [{}], {"": 0}, {"c": None}, [1, 2], [True, True], [2, 1]),
    {"epoch": "00c0ffee", "seq": 1, "nonce": 1},
    {"c": {"epoch": "00c0ffee", "seq": 1, "nonce": 1}},
    {f"c{number}": 1 for number in range(1_001)},
)
HOSTILE_TOKENS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5_000, b"0x1", b"01", b"1.", b".5", b"+1", b"--1"),
    *(
        b'"\\ud800"',
        b'"\\uD83D\\uDE00"',
        b'"\\u0000"',
        b"[" * 3_000,
        b"[" * 31 + b"]" * 31,
        b"[" * 32 + b"]" * 32,
        b'{"a":' * 3_000,
        b"\n",
        b"\r\n",
    ),
    *(b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\x00", b",", b'"', b"}", b"null", b'{"type":"pong"}'),
)
HOSTILE_VARINTS = (b"\x80\x00", b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 20, b"\xff\xff\xff\xff\x0f", b"\x80")


def mutated_json(dice: Random, seeds: tuple[bytes, ...]) -> bytes:
    """Return text, not always UTF-8."""
    lines = [dice.choice(seeds) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
    index = dice.randrange(len(lines))
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
        match dice.randrange(8):
            case 0 | 1 | 2 | 3:
                lines[index] = _change_document(dice, lines[index])
            case 4:
                lines[index] = _insert(dice, lines[index], dice.choice(HOSTILE_TOKENS))
            case 5:
                lines[index] = _name_twice(dice, lines[index])
            case _:
                lines[index] = _blindly(dice, lines[index], seeds)
    text = b"\n".join(lines)
    return text * 1_100 if dice.randrange(500) == 0 else text


def mutated_protobuf(dice: Random, seeds: tuple[bytes, ...]) -> bytes:
    """Return bytes; `seeds` are frames without their lengths."""
    payload = b""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        body = dice.choice(seeds)
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
            match dice.randrange(6):
                case 0 | 1 | 2 | 3:
                    fields = _parse(body)
                    if fields is None:
                        body = _blindly(dice, body, seeds)
                    else:
                        _change_fields(dice, fields)
                        body = _serialize(fields)
                case 4:
                    body = _insert(dice, body, dice.choice(HOSTILE_TOKENS))
                case _:
                    body = _blindly(dice, body, seeds)
        length = dice.choice(HOSTILE_VARINTS) if dice.randrange(40) == 0 else _varint(len(body))
        payload += length + body
    if dice.randrange(10) == 0:
        payload = _blindly(dice, payload, seeds)
    return payload * 1_100 if dice.randrange(500) == 0 else payload


def _insert(dice: Random, raw: bytes, token: bytes) -> bytes:
    start = dice.randint(0, len(raw))
    return raw[:start] + token + raw[start + dice.choice((0, 0, 1, 4)) :]


def _blindly(dice: Random, raw: bytes, seeds: tuple[bytes, ...]) -> bytes:
    start = dice.randint(0, len(raw))
    end = min(len(raw), start + dice.choice((1, 1, 2, 4, 16)))
    match dice.randrange(6):
        case 0:
            changed = bytearray(raw)
            for _ in range(dice.choice((1, 1, 2, 8))):
                if changed:
                    changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            return bytes(changed)
        case 1:
            return raw[:start]
        case 2:
            return raw[:start] + raw[end:]
        case 3:
            return raw[:end] + raw[start:]
        case 4:
            other = dice.choice(seeds)
            return raw[:start] + other[dice.randint(0, len(other)) :]
        case _:
            return raw[:start] + dice.randbytes(dice.choice((1, 2, 8, 64))) + raw[end:]


# JSON.


def _change_document(dice: Random, line: bytes) -> bytes:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return line
    holder: Any = document
    while True:
        if isinstance(holder, dict) and holder:
            key: Any = dice.choice([*holder])
        elif isinstance(holder, list) and holder:
            key = dice.randrange(len(holder))
        else:
            break
        if isinstance(holder[key], dict | list) and holder[key] and dice.randrange(3):
            holder = holder[key]
            continue
        match dice.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[dice.choice(HOSTILE_TEXTS)] = holder.pop(key)
            case 2:
                deep: Any = holder[key]
                for _ in range(dice.choice((1, 20, 29, 30, 31, 32))):
                    deep = {"a": deep} if dice.randrange(2) else [deep]
                holder[key] = deep
            case _:
                holder[key] = dice.choice(HOSTILE_JSON)
        break
    ascii_only = bool(dice.randrange(2))
    return json.dumps(document, separators=(",", ":"), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def _name_twice(dice: Random, line: bytes) -> bytes:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(document, dict) or not document:
        return line
    key = dice.choice([*document])
    return line[:-1] + b"," + json.dumps({key: dice.choice(HOSTILE_JSON)}).encode()[1:]


# Protobuf, read and written without its runtime: that one would not write what is wrong.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(raw: bytes, place: int) -> tuple[int, int] | None:
    value = 0
    for index, byte in enumerate(raw[place : place + 10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, place + index + 1
    return None


def _parse(raw: bytes, depth: int = 4) -> Wire | None:
    """Return the fields of a message; None if it is none. Bytes that can be read as a message are read as one."""
    fields: Wire = []
    place = 0
    while place < len(raw):
        tag = _read_varint(raw, place)
        if tag is None or tag[0] >> 3 == 0:
            return None
        (number, kind), place = divmod(tag[0], 8), tag[1]
        match kind:
            case 0:
                read = _read_varint(raw, place)
                if read is None:
                    return None
                value, place = read
                fields.append((number, kind, value))
            case 1 | 5:
                width = 8 if kind == 1 else 4
                if place + width > len(raw):
                    return None
                fields.append((number, kind, raw[place : place + width]))
                place += width
            case 2:
                read = _read_varint(raw, place)
                if read is None or read[1] + read[0] > len(raw):
                    return None
                inner = raw[read[1] : read[1] + read[0]]
                nested = _parse(inner, depth - 1) if depth and len(inner) > 2 else None
                fields.append((number, kind, inner if nested is None else nested))
                place = read[1] + read[0]
            case _:
                return None
    return fields


def _serialize(fields: Wire) -> bytes:
    out = b""
    for number, kind, value in fields:
        out += _varint(number << 3 | kind)
        match value:
            case int():
                out += _varint(value)
            case bytes():
                out += value if kind in {1, 5} else _varint(len(value)) + value
            case list():
                inner = _serialize(value)
                out += _varint(len(inner)) + inner
    return out


def _change_fields(dice: Random, fields: Wire) -> None:
    while fields:
        index = dice.randrange(len(fields))
        number, kind, value = fields[index]
        if isinstance(value, list) and value and dice.randrange(4):
            fields = value
            continue
        match dice.randrange(6):
            case 0:
                del fields[index]
            case 1:
                fields.insert(dice.randint(0, len(fields)), fields[index])
            case 2:
                fields[index] = (dice.choice((number + 1, max(1, number - 1), 21, 2**29 - 1)), kind, value)
            case 3:
                fields[index] = dice.choice(((number, 0, 1), (number, 2, b"\x01"), (number, 5, bytes(4))))
            case _:
                fields[index] = (number, kind, _hostile(dice, kind))
        return


def _hostile(dice: Random, kind: int) -> bytes | int:
    match kind:
        case 0:
            return abs(dice.choice(HOSTILE_INTEGERS)) % 2**64
        case 1:
            return dice.choice((bytes(8), b"\xff" * 8, b"\0\0\0\0\0\0\xf0\x7f", b"\0\0\0\0\0\0\xf8\x7f"))
        case 5:
            return dice.choice((bytes(4), b"\xff" * 4, dice.randbytes(4)))
        case _:
            token = dice.choice(HOSTILE_TOKENS)
            text = dice.choice(HOSTILE_TEXTS).encode("utf-8", "surrogatepass")
            return dice.choice((token, text, b'"' + text + b'"'))
