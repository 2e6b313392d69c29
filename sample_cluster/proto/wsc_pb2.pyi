from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Content(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JSON: _ClassVar[Content]
    BYTES: _ClassVar[Content]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAST: _ClassVar[Level]
    SAFE: _ClassVar[Level]
JSON: Content
BYTES: Content
FAST: Level
SAFE: Level

class Position(_message.Message):
    __slots__ = ("epoch", "seq", "nonce")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    nonce: int
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ..., nonce: _Optional[int] = ...) -> None: ...

class Client(_message.Message):
    __slots__ = ("name", "version", "lang")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LANG_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    lang: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., lang: _Optional[str] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("ago_ms", "delay_ms", "outcome")
    AGO_MS_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ago_ms: int
    delay_ms: int
    outcome: str
    def __init__(self, ago_ms: _Optional[int] = ..., delay_ms: _Optional[int] = ..., outcome: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("token", "client", "caps")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    CAPS_FIELD_NUMBER: _ClassVar[int]
    token: str
    client: Client
    caps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, token: _Optional[str] = ..., client: _Optional[_Union[Client, _Mapping]] = ..., caps: _Optional[_Iterable[str]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("session", "secret", "attempt", "token", "positions", "pending", "retries")
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Position
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...
    class PendingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    session: str
    secret: str
    attempt: int
    token: str
    positions: _containers.MessageMap[str, Position]
    pending: _containers.ScalarMap[str, int]
    retries: _containers.RepeatedCompositeFieldContainer[Retry]
    def __init__(self, session: _Optional[str] = ..., secret: _Optional[str] = ..., attempt: _Optional[int] = ..., token: _Optional[str] = ..., positions: _Optional[_Mapping[str, Position]] = ..., pending: _Optional[_Mapping[str, int]] = ..., retries: _Optional[_Iterable[_Union[Retry, _Mapping]]] = ...) -> None: ...

class Subscribe(_message.Message):
    __slots__ = ("channel", "position", "now", "start")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    channel: str
    position: Position
    now: bool
    start: bool
    def __init__(self, channel: _Optional[str] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., now: bool = ..., start: bool = ...) -> None: ...

class Unsubscribe(_message.Message):
    __slots__ = ("channel",)
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    channel: str
    def __init__(self, channel: _Optional[str] = ...) -> None: ...

class Publish(_message.Message):
    __slots__ = ("channel", "cseq", "data", "content", "level")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CSEQ_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    channel: str
    cseq: int
    data: bytes
    content: Content
    level: Level
    def __init__(self, channel: _Optional[str] = ..., cseq: _Optional[int] = ..., data: _Optional[bytes] = ..., content: _Optional[_Union[Content, str]] = ..., level: _Optional[_Union[Level, str]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("acks",)
    class AcksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ACKS_FIELD_NUMBER: _ClassVar[int]
    acks: _containers.ScalarMap[str, int]
    def __init__(self, acks: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Auth(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ("ts",)
    TS_FIELD_NUMBER: _ClassVar[int]
    ts: int
    def __init__(self, ts: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("ping_ms", "pong_ms", "misses", "resume_ttl_ms", "ack_ms")
    PING_MS_FIELD_NUMBER: _ClassVar[int]
    PONG_MS_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TTL_MS_FIELD_NUMBER: _ClassVar[int]
    ACK_MS_FIELD_NUMBER: _ClassVar[int]
    ping_ms: int
    pong_ms: int
    misses: int
    resume_ttl_ms: int
    ack_ms: int
    def __init__(self, ping_ms: _Optional[int] = ..., pong_ms: _Optional[int] = ..., misses: _Optional[int] = ..., resume_ttl_ms: _Optional[int] = ..., ack_ms: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_frame", "max_data", "window")
    MAX_FRAME_FIELD_NUMBER: _ClassVar[int]
    MAX_DATA_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    max_frame: int
    max_data: int
    window: int
    def __init__(self, max_frame: _Optional[int] = ..., max_data: _Optional[int] = ..., window: _Optional[int] = ...) -> None: ...

class Reconnect(_message.Message):
    __slots__ = ("spread_ms", "base_ms", "factor", "cap_ms", "jitter", "stable_ms")
    SPREAD_MS_FIELD_NUMBER: _ClassVar[int]
    BASE_MS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    CAP_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    STABLE_MS_FIELD_NUMBER: _ClassVar[int]
    spread_ms: int
    base_ms: int
    factor: float
    cap_ms: int
    jitter: float
    stable_ms: int
    def __init__(self, spread_ms: _Optional[int] = ..., base_ms: _Optional[int] = ..., factor: _Optional[float] = ..., cap_ms: _Optional[int] = ..., jitter: _Optional[float] = ..., stable_ms: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session", "secret", "attempt", "node", "boot", "resumed", "fresh", "timings", "limits", "reconnect")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_FIELD_NUMBER: _ClassVar[int]
    session: str
    secret: str
    attempt: int
    node: str
    boot: int
    resumed: _containers.RepeatedScalarFieldContainer[str]
    fresh: _containers.RepeatedScalarFieldContainer[str]
    timings: Timings
    limits: Limits
    reconnect: Reconnect
    def __init__(self, session: _Optional[str] = ..., secret: _Optional[str] = ..., attempt: _Optional[int] = ..., node: _Optional[str] = ..., boot: _Optional[int] = ..., resumed: _Optional[_Iterable[str]] = ..., fresh: _Optional[_Iterable[str]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., reconnect: _Optional[_Union[Reconnect, _Mapping]] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ("channel", "position", "replay")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    channel: str
    position: Position
    replay: int
    def __init__(self, channel: _Optional[str] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., replay: _Optional[int] = ...) -> None: ...

class Unsubscribed(_message.Message):
    __slots__ = ("channel",)
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    channel: str
    def __init__(self, channel: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("channel", "seq", "nonce", "prev", "id", "ts", "data", "content", "replay")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PREV_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    channel: str
    seq: int
    nonce: int
    prev: int
    id: str
    ts: int
    data: bytes
    content: Content
    replay: bool
    def __init__(self, channel: _Optional[str] = ..., seq: _Optional[int] = ..., nonce: _Optional[int] = ..., prev: _Optional[int] = ..., id: _Optional[str] = ..., ts: _Optional[int] = ..., data: _Optional[bytes] = ..., content: _Optional[_Union[Content, str]] = ..., replay: bool = ...) -> None: ...

class Published(_message.Message):
    __slots__ = ("channel", "cseq", "seq", "dup", "replicas")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CSEQ_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DUP_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    channel: str
    cseq: int
    seq: int
    dup: bool
    replicas: int
    def __init__(self, channel: _Optional[str] = ..., cseq: _Optional[int] = ..., seq: _Optional[int] = ..., dup: bool = ..., replicas: _Optional[int] = ...) -> None: ...

class Resync(_message.Message):
    __slots__ = ("channel", "reason", "have", "first", "top", "position")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    channel: str
    reason: str
    have: int
    first: int
    top: int
    position: Position
    def __init__(self, channel: _Optional[str] = ..., reason: _Optional[str] = ..., have: _Optional[int] = ..., first: _Optional[int] = ..., top: _Optional[int] = ..., position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Rewind(_message.Message):
    __slots__ = ("channel", "to", "void_first", "void_last", "position")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    VOID_FIRST_FIELD_NUMBER: _ClassVar[int]
    VOID_LAST_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    channel: str
    to: int
    void_first: int
    void_last: int
    position: Position
    def __init__(self, channel: _Optional[str] = ..., to: _Optional[int] = ..., void_first: _Optional[int] = ..., void_last: _Optional[int] = ..., position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("ts",)
    TS_FIELD_NUMBER: _ClassVar[int]
    ts: int
    def __init__(self, ts: _Optional[int] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "retry_ms", "spread_ms", "deadline_ms", "handover")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_MS_FIELD_NUMBER: _ClassVar[int]
    SPREAD_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    HANDOVER_FIELD_NUMBER: _ClassVar[int]
    reason: str
    retry_ms: int
    spread_ms: int
    deadline_ms: int
    handover: bool
    def __init__(self, reason: _Optional[str] = ..., retry_ms: _Optional[int] = ..., spread_ms: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., handover: bool = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("component", "state")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    component: str
    state: str
    def __init__(self, component: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "temporary", "retry_ms", "channel", "cseq")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TEMPORARY_FIELD_NUMBER: _ClassVar[int]
    RETRY_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CSEQ_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    temporary: bool
    retry_ms: int
    channel: str
    cseq: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., temporary: bool = ..., retry_ms: _Optional[int] = ..., channel: _Optional[str] = ..., cseq: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("id", "hello", "welcome", "resume", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "message", "ack", "publish", "published", "resync", "rewind", "ping", "pong", "goaway", "notice", "error", "auth")
    ID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    GOAWAY_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    id: int
    hello: Hello
    welcome: Welcome
    resume: Resume
    subscribe: Subscribe
    subscribed: Subscribed
    unsubscribe: Unsubscribe
    unsubscribed: Unsubscribed
    message: Message
    ack: Ack
    publish: Publish
    published: Published
    resync: Resync
    rewind: Rewind
    ping: Ping
    pong: Pong
    goaway: GoAway
    notice: Notice
    error: Error
    auth: Auth
    def __init__(self, id: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., unsubscribe: _Optional[_Union[Unsubscribe, _Mapping]] = ..., unsubscribed: _Optional[_Union[Unsubscribed, _Mapping]] = ..., message: _Optional[_Union[Message, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., publish: _Optional[_Union[Publish, _Mapping]] = ..., published: _Optional[_Union[Published, _Mapping]] = ..., resync: _Optional[_Union[Resync, _Mapping]] = ..., rewind: _Optional[_Union[Rewind, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., goaway: _Optional[_Union[GoAway, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., auth: _Optional[_Union[Auth, _Mapping]] = ...) -> None: ...
