"""Everything the sample cluster raises on purpose.

ClusterError
├── StartError            a process or the cluster cannot start; the message says what to do
├── LocalProtocolError    we used the client protocol wrongly: our bug
├── RemoteProtocolError   the peer broke the client protocol; `code` is the close code for it
├── PublishRefusedError   a publish was answered with an error; `temporary` says whether to send it again
└── StoreUnavailableError Redis does not answer
"""


class ClusterError(Exception):
    """Base of all; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class StartError(ClusterError):
    """A process or the cluster cannot start."""


class LocalProtocolError(ClusterError):
    """We used the client protocol wrongly."""


class RemoteProtocolError(ClusterError):
    """The peer broke the client protocol."""

    def __init__(self, message: str, *, code: int = 4501) -> None:
        super().__init__(message)
        self.code = code


class PublishRefusedError(ClusterError):
    """The node did not take a message."""

    def __init__(self, code: str, message: str, *, temporary: bool, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.temporary = temporary
        self.retry_s = retry_s


class StoreUnavailableError(ClusterError):
    """Redis does not answer."""
