"""Everything wsmon raises on purpose.

WsmonError
├── UsageError             the command line asks for something that does not exist     exit 2
├── ConfigError            a configuration, descriptor or theme cannot be used         exit 2
├── UnreachableError       the cluster, or the peer in question, does not answer       exit 3
├── EnvironmentUnsafeError the runtime directory is not ours or open to others         exit 1
├── AlreadyRunningError    another process owns this cluster name                      exit 1
├── StartError             the embedded cluster did not come up                        exit 1
├── OperationRefusedError  an operation was refused; carries the peer's code           exit 1
└── ProtocolError
    ├── LocalProtocolError   we used the protocol wrongly: our bug
    └── RemoteProtocolError  the peer sent something that the protocol forbids
"""


class WsmonError(Exception):
    """Base of all; `hint` says what to do about it, `code` is stable for machines."""

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(WsmonError):
    """Unknown flag, value or verb."""

    code = "usage"
    exit_status = 2


class ConfigError(WsmonError):
    """A file that configures us cannot be used."""

    code = "config"
    exit_status = 2


class UnreachableError(WsmonError):
    """Nobody answers at the address."""

    code = "unreachable"
    exit_status = 3


class EnvironmentUnsafeError(WsmonError):
    """A directory or socket belongs to somebody else or is writable by others."""

    code = "unsafe"


class AlreadyRunningError(WsmonError):
    """A cluster of this name runs already."""

    code = "already_running"


class StartError(WsmonError):
    """The embedded cluster could not be started."""

    code = "start"


class OperationRefusedError(WsmonError):
    """The peer refused an operation; `code` is the one it gave."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ProtocolError(WsmonError):
    """Base of the two below."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """We used the protocol wrongly."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol."""
