"""The command line of the cluster. It parses before it imports anything heavy: a typing mistake is answered at once."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from sample_cluster.config import DEMO, PROFILES
from sample_cluster.errors import ClusterError
from wsmon.agent.endpoint import parse_endpoint
from wsmon.agent.redis_url import parse_redis_url
from wsmon.agent.runtime_dir import ensure_private, runtime_dir
from wsmon.errors import WsmonError
from wsmon.protocol.names import check_cluster_name
from wsmon.protocol.states import PeerKind

COMMANDS: Final = {
    "up": "run a whole cluster on this machine",
    "node": "run one node",
    "checker": "run one health checker",
    "gateway": "run one gateway",
    "fleet": "run synthetic clients",
}
REDIS_VARIABLE: Final = "SAMPLE_CLUSTER_REDIS"
"""Says the same as --redis. A URL may hold a password, and everybody on the machine can read arguments."""
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,15}")


def run(words: Sequence[str]) -> int:
    """Run `sample-cluster` with `words` and return its exit status."""
    match words:
        case [("-h" | "--help"), *_]:
            print(_overview())  # noqa: T201  # Help goes to stdout.
            return 0
        case ["--version", *_]:
            from sample_cluster.role import VERSION  # noqa: PLC0415

            print(f"sample-cluster {VERSION}")  # noqa: T201
            return 0
        case ["spawner", parent, log_path] if parent.isdecimal():  # Started by a supervisor, never by a person.
            from sample_cluster.spawner import serve_on_stdin  # noqa: PLC0415

            return serve_on_stdin(int(parent), Path(log_path))
        case [command, *rest] if command in COMMANDS:
            try:
                return _run_command(command, rest)
            except _UsageFailure as failure:
                return _fail(str(failure), 2)
        case [command, *_]:
            return _fail(f"unknown command {command!r}; allowed: {', '.join(COMMANDS)}", 2)
        case _:
            return _fail(f"a command is missing; allowed: {', '.join(COMMANDS)}", 2)


def _overview() -> str:
    lines = "\n".join(f"  {name:<9}{text}" for name, text in COMMANDS.items())
    return f"usage: sample-cluster COMMAND …\n\n{lines}\n\nsample-cluster COMMAND --help lists its flags."


def _fail(message: str, status: int) -> int:
    print(f"sample-cluster: error: {message}", file=sys.stderr)  # noqa: T201  # Errors of the command line.
    return status


class _UsageFailure(Exception):  # noqa: N818  # An error message on its way to the exit.
    """The command line is wrong; the text says how."""


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong and what is allowed."""

    def error(self, message: str) -> NoReturn:
        raise _UsageFailure(re.sub(r"^argument (\S+?)(?:/\S+)?: ", r"\1: ", message))

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the parsed flags; unknown ones are refused with the list of those that exist."""
        args, unknown = self.parse_known_args(words)
        if unknown:
            flags = ", ".join(name for action in self._actions for name in action.option_strings if len(name) > 2)
            raise _UsageFailure(f"unknown argument {unknown[0]!r}; allowed: {flags}")
        return args


def _parser(command: str) -> _Parser:
    parser = _Parser(prog=f"sample-cluster {command}", description=COMMANDS[command], allow_abbrev=False)
    add = parser.add_argument
    redis = os.environ.get(REDIS_VARIABLE)
    where = f"(${REDIS_VARIABLE}, which other users cannot read)"
    add("--cluster", type=_cluster, default="demo", metavar="NAME", help="name of the cluster (demo)")
    add("--profile", type=_profile, default=DEMO, metavar="NAME", help=f"timings: {', '.join(PROFILES)} (demo)")
    if command == "up":
        add("--nodes", type=_integer(1, 32), default=3, metavar="N", help="nodes to start (3)")
        add(
            "--redis", type=_redis, default=redis, metavar="URL", help=f"use this Redis instead of starting one {where}"
        )
        add("--redis-port", type=_integer(1, 65_535), metavar="N", help="open the started Redis on this port, too")
        add("--until-eof", action="store_true", help="end when stdin ends")
        add("--seed", type=_integer(0, 2**53), metavar="N", help="seed of the fleet's dice")
    else:
        add(
            "--redis",
            type=_redis,
            default=redis,
            required=redis is None,
            metavar="URL",
            help=f"Redis of the cluster {where}",
        )
        add("--id", type=_id, required=command == "node", default=command, metavar="ID", help="unique in the cluster")
        add("--admin", type=_admin, metavar="URL", help="where to serve the admin socket (in the runtime directory)")
        add("--zone", metavar="NAME", help="failure domain")
    if command in ("node", "gateway"):
        add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
    if command in ("up", "node", "gateway"):
        port = 0 if command == "node" else 8_800
        add("--port", type=_integer(0, 65_535), default=port, metavar="N", help=f"port for clients, 0 for any ({port})")
    if command == "fleet":
        add("--gateway", type=_gateway, required=True, metavar="URL", help="ws://host:port/ws")
        add("--seed", type=_integer(0, 2**53), metavar="N", help="seed of its dice")
    if command in ("up", "fleet"):
        add("--clients", type=_integer(0, 100_000), default=60, metavar="N", help="synthetic clients (60)")
        add("--rate", type=_rate, default=20.0, metavar="N", help="messages published per second in total (20)")
    return parser


def _run_command(command: str, words: Sequence[str]) -> int:
    try:
        args = _parser(command).parse(words)
    except SystemExit:  # --help was printed.
        return 0
    if command == "up" and args.redis and args.redis_port:
        raise _UsageFailure("--redis-port is for a Redis that is started here; allowed: --redis or --redis-port")
    try:
        if command == "up":
            _up(args)
        else:
            _run_alone(command, args)
    except WsmonError as error:
        return _fail(_sentence(error.message, error.hint), error.exit_status)
    except ClusterError as error:
        return _fail(_sentence(error.message, error.hint), 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _sentence(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message


def _up(args: argparse.Namespace) -> None:
    import logging  # noqa: PLC0415

    from sample_cluster.role import set_up_logging  # noqa: PLC0415
    from sample_cluster.supervisor import UpSettings, up  # noqa: PLC0415

    set_up_logging("supervisor", logging.WARNING)
    up(
        UpSettings(
            cluster=args.cluster,
            nodes=args.nodes,
            clients=args.clients,
            rate=args.rate,
            profile=args.profile,
            port=args.port,
            redis=args.redis,
            redis_port=args.redis_port,
            until_eof=args.until_eof,
            seed=args.seed,
        )
    )


def _run_alone(command: str, args: argparse.Namespace) -> None:
    """Run one role in this process until a signal ends it."""
    from sample_cluster.role import RoleSettings, set_up_logging  # noqa: PLC0415
    from sample_cluster.spawner import run_to_end  # noqa: PLC0415

    admin = args.admin
    if admin is None:
        directory = runtime_dir(args.cluster)
        ensure_private(directory)
        admin = f"ws+unix://{directory / f'{args.id}.sock'}"
    kind = PeerKind(command)
    settings = RoleSettings(
        kind=kind,
        id=args.id,
        cluster=args.cluster,
        redis=args.redis,
        admin=admin,
        profile=args.profile,
        zone=args.zone,
    )
    names = ("host", "port", "gateway", "clients", "rate", "seed")
    options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    set_up_logging(args.id)
    try:
        run_to_end(settings, options)
    except OSError as error:  # Above all a port in use; everything else a role survives.
        raise ClusterError(f"{command} {args.id}: {error.strerror or error}") from error


# Values of flags. argparse turns ArgumentTypeError into the error line.


def _cluster(text: str) -> str:
    try:
        return check_cluster_name(text)
    except WsmonError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; allowed: {error.hint}") from None


def _profile(text: str) -> object:
    if text not in PROFILES:
        raise argparse.ArgumentTypeError(f"unknown profile {text!r}; allowed: {', '.join(PROFILES)}")
    return PROFILES[text]


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,16}", text, re.ASCII) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: whole numbers from {least} to {most}")
        return int(text)

    return parse


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: numbers from 0 to 100000")
    return rate


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}; allowed: 1 to 16 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
        )
    return text


def _redis(text: str) -> str:
    try:
        parse_redis_url(text)
    except ValueError as error:  # It does not repeat the URL, which may hold a password.
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _gateway(text: str) -> str:
    parts = _split(text)
    if parts is None or parts[0] not in ("ws", "wss") or not parts[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a gateway; allowed: ws://host:port/ws, wss://host:port/ws")
    return text


def _admin(text: str) -> str:
    try:
        parse_endpoint(text)
    except WsmonError as error:
        hint = error.hint or "ws+unix:///path"
        raise argparse.ArgumentTypeError(f"{error.message}; allowed: {hint}") from None
    return text


def _split(text: str) -> tuple[str, str] | None:
    """Return scheme and place of a URL; None if it is none."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # Raises for a port that is no number.
    except ValueError:
        return None
    return parts.scheme, parts.path if parts.scheme == "unix" else parts.hostname or ""
