"""Frames to JSON text and back, and JSON Merge Patch. Source: RFC 7396 for the patch."""

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields

from wsmon.protocol.fields import Fields, dump_object, parse_object
from wsmon.protocol.frames import (
    Actor,
    Beat,
    Command,
    Delta,
    ErrorBody,
    EventFrame,
    Frame,
    Hello,
    Json,
    JsonObject,
    Page,
    Ping,
    Pong,
    Query,
    ReadOnlyJson,
    Result,
    Snapshot,
    Subscribe,
    UnknownFrame,
)
from wsmon.protocol.states import PeerKind, Role

ID_MAX = 256
"""Longest identifier of a peer, node or command, in characters."""
INTERVAL_MS_LEAST, INTERVAL_MS_MOST = 50, 10_000
ENVELOPE = ("type", "source", "boot", "seq", "at", "kind")
"""Names that an event's own fields never have."""


def encode_frame(frame: Frame) -> str:
    """Return the frame as one line of JSON text; fields that are `None` are left out."""
    return dump_object(frame_object(frame))


def frame_object(frame: Frame) -> JsonObject:
    """Return the frame as a JSON object."""
    match frame:
        case EventFrame():
            return {"type": "event", **event_object(frame)}
        case UnknownFrame():
            raise TypeError("an unknown frame cannot be sent")
        case _:
            document: JsonObject = {"type": type(frame).__name__.lower()}
            for name in (field.name for field in dataclass_fields(frame)):
                value = _plain(getattr(frame, name))
                if value is not None:
                    document[name] = value
            return document


def event_object(event: EventFrame) -> JsonObject:
    """Return the event flat, without `type`: the form of the Redis stream and of `--json`."""
    return {
        "source": event.source,
        "boot": event.boot,
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        # A field of a body that bears a name of the envelope would give the event another identity.
        **{name: value for name, value in event.fields.items() if name not in ENVELOPE},
    }


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return str(value)
        case tuple() | list():
            return [_plain(item) for item in value]
        case Mapping():
            return dict(value)
        case Actor() | ErrorBody():
            pairs = ((field.name, getattr(value, field.name)) for field in dataclass_fields(value))
            return {name: item for name, item in pairs if item is not None}
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")


def decode_frame(text: str | bytes) -> Frame:
    """Return the frame in `text`; unknown fields are ignored, an unknown type is `UnknownFrame`.

    Raises:
        RemoteProtocolError: the text is not a frame of this protocol; the message names the field.

    """
    document = parse_object(text)
    kind = Fields(document, "frame").text("type", longest=64)
    fields = Fields(document, kind)
    match kind:
        case "hello":
            return _hello(fields)
        case "subscribe":
            return Subscribe(
                since=fields.integer_or_none("since"),
                interval_ms=fields.integer("interval_ms", least=INTERVAL_MS_LEAST, most=INTERVAL_MS_MOST)
                if fields.has("interval_ms")
                else 250,
                topics=fields.texts("topics", most=64) if fields.has("topics") else None,
            )
        case "snapshot":
            return Snapshot(
                rev=fields.integer("rev"),
                boot=fields.integer("boot"),
                at=fields.number("at"),
                state=fields.object("state"),
            )
        case "delta":
            return Delta(
                rev=fields.integer("rev"),
                prev=fields.integer("prev"),
                at=fields.number("at"),
                patch=fields.object("patch"),
            )
        case "event":
            return decode_event(document)
        case "beat":
            return Beat(
                rev=fields.integer("rev"),
                at=fields.number("at"),
                lag_ms=fields.number("lag_ms", least=0) if fields.has("lag_ms") else 0.0,
            )
        case "command":
            return _command(fields)
        case "result":
            error = fields.object_or_none("error")
            return Result(
                id=fields.text("id", longest=ID_MAX),
                ok=fields.flag("ok"),
                rev=fields.integer("rev") if fields.has("rev") else 0,
                error=None if error is None else _error_body(error),
                effect=fields.object_or_none("effect"),
            )
        case "ping":
            return Ping(id=fields.text("id", longest=ID_MAX), at=fields.number("at"))
        case "pong":
            return Pong(id=fields.text("id", longest=ID_MAX), at=fields.number("at"))
        case "query":
            return Query(
                id=fields.text("id", longest=ID_MAX),
                what=fields.text("what", longest=64),
                limit=fields.integer("limit", least=1, most=10_000),
                filter=fields.text_or_none("filter"),
                sort=fields.text_or_none("sort"),
                cursor=fields.text_or_none("cursor"),
            )
        case "page":
            return Page(
                id=fields.text("id", longest=ID_MAX),
                rows=fields.objects("rows", most=10_000),
                cursor=fields.text_or_none("cursor"),
            )
        case _:
            return UnknownFrame(type=kind)


def decode_event(document: Mapping[str, Json]) -> EventFrame:
    """Return the event in its flat form, from a socket or from the Redis stream.

    Raises:
        RemoteProtocolError: a field of the envelope is missing or wrong.

    """
    fields = Fields(document, "event")
    return EventFrame(
        source=fields.text("source", longest=ID_MAX),
        boot=fields.integer("boot"),
        seq=fields.integer("seq"),
        at=fields.number("at"),
        kind=fields.text("kind", longest=64),
        fields={name: value for name, value in document.items() if name not in ENVELOPE and value is not None},
    )


def _hello(fields: Fields) -> Hello:
    return Hello(
        kind=fields.word("kind", PeerKind),
        id=fields.text("id", longest=ID_MAX),
        boot=fields.integer("boot"),
        pid=fields.integer("pid") if fields.has("pid") else 0,
        host=fields.text("host") if fields.has("host") else "",
        version=fields.text("version") if fields.has("version") else "",
        role=fields.word("role", Role),
        ops=fields.texts("ops"),
        profile=fields.object_or_none("profile") or {},
        zone=fields.text_or_none("zone"),
        protocol=fields.integer("protocol"),
    )


def _command(fields: Fields) -> Command:
    actor = Fields(fields.object("actor"), "command.actor")
    return Command(
        id=fields.text("id", longest=ID_MAX),
        op=fields.text("op", longest=64),
        args=fields.object_or_none("args") or {},
        actor=Actor(
            user=actor.text("user", longest=ID_MAX),
            host=actor.text("host", longest=ID_MAX),
            tty=actor.text_or_none("tty", longest=ID_MAX),
        ),
        reason=fields.text_or_none("reason", longest=1_000),
        dry_run=fields.flag("dry_run"),
        idempotency_key=fields.text_or_none("idempotency_key", longest=ID_MAX),
    )


def _error_body(document: JsonObject) -> ErrorBody:
    fields = Fields(document, "result.error")
    return ErrorBody(code=fields.text("code", longest=64), message=fields.text("message"))


def merge_patch(document: ReadOnlyJson, patch: ReadOnlyJson) -> JsonObject:
    """Return `document` with `patch` applied; neither is changed, untouched parts are shared. Source: RFC 7396."""
    merged = dict(document)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            old = merged.get(name)
            merged[name] = merge_patch(old if isinstance(old, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def diff(old: ReadOnlyJson, new: ReadOnlyJson) -> JsonObject:
    """Return the smallest merge patch that turns `old` into `new`.

    `new` must not contain null inside objects: a merge patch cannot say so. Such a field counts as absent.
    """
    patch: JsonObject = {name: None for name in old if new.get(name) is None and old[name] is not None}
    for name, value in new.items():
        before = old.get(name)
        if value is None:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            inner = diff(before, value)
            if inner:
                patch[name] = inner
        elif value != before or type(value) is not type(before):
            patch[name] = value
    return patch
