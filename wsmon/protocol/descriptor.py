"""The descriptor: the one JSON line that tells where a running cluster is."""

from dataclasses import dataclass

from wsmon.errors import RemoteProtocolError
from wsmon.protocol.fields import Fields, dump_object, parse_object
from wsmon.protocol.frames import JsonObject

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Where a cluster is. Only `redis` or `supervisor` has to be known to watch one."""

    cluster: str
    redis: str | None = None
    profile: str | None = None
    gateway: str | None = None
    supervisor: str | None = None
    pid: int | None = None
    """Process of the supervisor on this machine; a descriptor whose process is gone is stale."""

    def to_text(self) -> str:
        """Return the descriptor as one line of JSON without the line's end."""
        document: JsonObject = {"version": VERSION, "cluster": self.cluster}
        for name in ("profile", "redis", "gateway", "supervisor", "pid"):
            value = getattr(self, name)
            if value is not None:
                document[name] = value
        return dump_object(document)


def decode_descriptor(text: str | bytes) -> Descriptor:
    """Return the descriptor.

    Raises:
        RemoteProtocolError: it does not parse, or is of another version.

    """
    fields = Fields(parse_object(text, what="descriptor"), "descriptor")
    version = fields.integer("version")
    if version != VERSION:
        raise RemoteProtocolError(f"descriptor.version is {version}, we know {VERSION}")
    return Descriptor(
        cluster=fields.text("cluster", longest=32),
        profile=fields.text_or_none("profile"),
        redis=fields.text_or_none("redis"),
        gateway=fields.text_or_none("gateway"),
        supervisor=fields.text_or_none("supervisor"),
        pid=fields.integer_or_none("pid", least=1),
    )
