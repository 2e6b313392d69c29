"""The command line: flags → mode. The only place that wires the parts together.

Parsing comes first and imports nothing heavy; every mode imports what it needs. A wrong flag or value is one line on
stderr (in JSON mode one object on stdout) that says what is allowed, and exit status 2.
"""

import argparse
import asyncio
import json
import logging
import math
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, NoReturn

from wsmon.agent.redis_url import parse_redis_url
from wsmon.commands import KILL_SIGNALS, Action
from wsmon.errors import AlreadyRunningError, StartError, UsageError, WsmonError

if TYPE_CHECKING:
    from wsmon.embedded import EmbeddedCluster
    from wsmon.headless import Console
    from wsmon.protocol.descriptor import Descriptor

PROFILES: Final = ("demo", "production", "test")
ACTION_VERBS: Final = ("drain", "abort", "undrain", "cordon", "uncordon", "kill", "start", "stop", "freeze", "thaw")
VERBS: Final = ("attach", "status", "events", *ACTION_VERBS)
WAIT_FOR: Final = {
    "drain": ("left",),
    "abort": ("online",),
    "start": ("online",),
    "kill": ("removed", "left"),
    "stop": ("removed", "left"),
}
"""Node states that `--wait` waits for."""
WAIT_WITHIN_S: Final = 60.0
OVERVIEW: Final = """\
wsmon [FLAGS]                     start a cluster here and show it live
       wsmon attach [TARGET]             show a cluster that runs already (look, do not touch)
       wsmon status [TARGET]             one look; exit 0 healthy, 1 degraded, 3 unreachable
       wsmon events [TARGET]             what happened; --follow goes on
       wsmon ACTION NODE [TARGET]        drain, abort, cordon, uncordon, kill, start, stop, freeze, thaw

TARGET is a descriptor's path, the name of a cluster on this machine or a Redis URL;
without it: the cluster that another `wsmon` runs on this machine. `wsmon COMMAND --help` tells more.
"""


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` lists what is allowed")


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status."""
    as_json = "--json" in arguments
    # What happens is told by events and errors; a log line in between would break screens and line formats.
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        return _run(list(arguments))
    except WsmonError as error:
        _complain(error, as_json=as_json)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read our lines has seen enough: that is no error, but stdout must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _complain(error: WsmonError, *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        print(json.dumps(document), flush=True)
        return
    hint = f" ({error.hint})" if error.hint else ""
    print(f"wsmon: {error.message}{hint}", file=sys.stderr)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        return _embedded(_embedded_parser().parse_args(arguments))
    verb, rest = arguments[0], arguments[1:]
    match verb:
        case "attach":
            return _attach(_target_parser("attach", "show a running cluster; nothing can be changed").parse_args(rest))
        case "status":
            return _status(_target_parser("status", "one look at a cluster").parse_args(rest))
        case "events":
            parser = _target_parser("events", "what happened in a cluster")
            parser.add_argument("--follow", "-f", action="store_true", help="go on until interrupted")
            return _events(parser.parse_args(rest))
        case _ if verb in ACTION_VERBS:
            return _act(verb, _action_parser(verb).parse_args(rest))
        case _:
            raise UsageError(f"there is no command {verb!r}", hint=f"allowed: {', '.join(VERBS)}")


def _seconds(text: str) -> float:
    return _number(text, least=0.001, most=1e9)


def _rate(text: str) -> float:
    return _number(text, least=0, most=100_000)


def _number(text: str, *, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
    return value


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return value

    return parse


def _redis_url(text: str) -> str:
    try:
        parse_redis_url(text)
    except ValueError as error:  # It does not repeat the URL, which may hold a password.
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _embedded_parser() -> _Parser:
    parser = _Parser(prog="wsmon", usage=OVERVIEW, allow_abbrev=False, add_help=True)
    parser.add_argument("--version", action="version", version=f"wsmon {_version()}")
    parser.add_argument("--nodes", type=_whole(1, 32), default=3, help="nodes to start (3)")
    parser.add_argument("--clients", type=_whole(0, 20_000), default=60, help="synthetic clients (60)")
    parser.add_argument("--rate", type=_rate, default=20.0, help="messages published a second by all clients (20)")
    parser.add_argument("--profile", choices=PROFILES, default="demo", help="preset of all timings (demo)")
    parser.add_argument("--cluster", default="demo", help="the cluster's name (demo)")
    parser.add_argument(
        "--port", type=_whole(0, 65_535), default=8800, help="the gateway's port, 0 for a free one (8800)"
    )
    parser.add_argument("--redis", type=_redis_url, metavar="URL", help="use this Redis instead of starting one")
    parser.add_argument("--theme", default=None, help="a shipped theme's name or a file (dark)")
    parser.add_argument("--plain", action="store_true", help="lines instead of a dashboard")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a dashboard")
    parser.add_argument("--for", dest="for_s", type=_seconds, metavar="SECONDS", help="end after so many seconds")
    return parser


def _target_parser(verb: str, description: str) -> _Parser:
    parser = _Parser(prog=f"wsmon {verb}", description=description, allow_abbrev=False)
    parser.add_argument("target", nargs="?", metavar="TARGET", help="descriptor, cluster name or Redis URL")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    if verb == "attach":
        parser.add_argument("--theme", default=None, help="a shipped theme's name or a file (dark)")
        parser.add_argument("--plain", action="store_true", help="lines instead of a dashboard")
        parser.add_argument("--for", dest="for_s", type=_seconds, metavar="SECONDS", help="end after so many seconds")
    return parser


def _action_parser(verb: str) -> _Parser:
    parser = _Parser(prog=f"wsmon {verb}", description=f"{verb} a node", allow_abbrev=False)
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="descriptor, cluster name or Redis URL")
    parser.add_argument("--reason", default="", help="goes to the ledger")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument("--wait", action="store_true", help="wait until the node is where it should be")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    if verb == "kill":
        parser.add_argument("--signal", choices=KILL_SIGNALS, default="KILL", help="(KILL)")
    if verb == "freeze":
        parser.add_argument("--ttl", type=_seconds, default=30.0, metavar="SECONDS", help="thaws by itself (30)")
    return parser


def _version() -> str:
    try:
        return version("wsmon")
    except PackageNotFoundError:
        return "unknown"


# Modes


def _embedded(options: argparse.Namespace) -> int:
    from wsmon.agent.runtime_dir import ensure_private, runtime_dir
    from wsmon.embedded import EmbeddedCluster

    directory = runtime_dir(options.cluster)
    ensure_private(directory)
    _refuse_second(options.cluster)
    arguments = ["--nodes", str(options.nodes), "--clients", str(options.clients), "--rate", str(options.rate)]
    arguments += ["--profile", options.profile, "--port", str(options.port)]
    embedded = EmbeddedCluster(options.cluster, arguments, redis=options.redis)
    try:
        embedded.launch()
        if _wants_dashboard(options):
            return _dashboard(embedded, cluster=options.cluster, theme=options.theme, for_s=options.for_s)
        return _follow(_console(embedded.locate, embedded.cluster, embedded), options)
    finally:
        embedded.stop()


def _wants_dashboard(options: argparse.Namespace) -> bool:
    """Say whether a dashboard is wanted and the terminal can show one; else lines do."""
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return on_terminal and not options.plain and not options.json


def _refuse_second(cluster: str) -> None:
    from wsmon.agent.runtime_dir import (
        DESCRIPTOR_NAME,
        process_is_alive,
        read_descriptor,
        runtime_dir,
    )
    from wsmon.errors import ProtocolError

    try:
        descriptor = read_descriptor(runtime_dir(cluster) / DESCRIPTOR_NAME)
    except ProtocolError:
        return  # Not a descriptor: the supervisor, which holds the lock, decides.
    if descriptor is not None and descriptor.pid is not None and process_is_alive(descriptor.pid):
        raise AlreadyRunningError(
            f"cluster {cluster!r} runs already (supervisor {descriptor.pid})",
            hint="`wsmon attach` shows it; --cluster NAME starts another one beside it, with --port",
        )


def _console(
    locate: "Callable[[], Awaitable[Descriptor]]", cluster: str, embedded: "EmbeddedCluster | None" = None
) -> "Console":
    from wsmon.headless import Console
    from wsmon.model.cluster import ClusterModel
    from wsmon.operators.admin import AdminOperator, this_actor
    from wsmon.sources.clock import Clock
    from wsmon.sources.merge import LiveCluster

    clock = Clock()
    source = LiveCluster(locate, clock, ended=None if embedded is None else embedded.ended)
    model = ClusterModel(cluster, embedded=embedded is not None)
    return Console(source, AdminOperator(source.client, this_actor()), model, clock)


def _always(descriptor: "Descriptor") -> "Callable[[], Awaitable[Descriptor]]":
    async def locate() -> "Descriptor":
        return descriptor

    return locate


def _follow(console: "Console", options: argparse.Namespace) -> int:
    async def run() -> int:
        async with console:
            await console.follow(as_json=options.json, for_s=options.for_s)
        return 0

    return asyncio.run(run())


def _dashboard(embedded: "EmbeddedCluster", *, cluster: str, theme: str | None, for_s: float | None) -> int:
    from wsmon.engine import Engine, EngineThread
    from wsmon.model.cluster import ClusterModel
    from wsmon.operators.admin import AdminOperator, this_actor
    from wsmon.sources.clock import Clock
    from wsmon.sources.merge import LiveCluster
    from wsmon.ui import run_ui

    clock = Clock()

    def make() -> Engine:
        source = LiveCluster(embedded.locate, clock, ended=embedded.ended)
        operator = AdminOperator(source.client, this_actor())
        return Engine(source, operator, ClusterModel(cluster, embedded=True), clock)

    thread = EngineThread(make)
    thread.start()
    try:
        status = run_ui(thread, theme=theme, armed=True, embedded=True, for_s=for_s)
        if thread.frame.ended:
            raise StartError(thread.frame.ended)
        return status
    finally:
        thread.stop()


def _attach(options: argparse.Namespace) -> int:
    from wsmon.engine import Engine, EngineThread
    from wsmon.model.cluster import ClusterModel
    from wsmon.operators.refuse import RefusingOperator
    from wsmon.sources.clock import Clock
    from wsmon.sources.locate import locate
    from wsmon.sources.merge import LiveCluster

    descriptor = asyncio.run(locate(options.target))
    if not _wants_dashboard(options):
        return _follow(_console(_always(descriptor), descriptor.cluster), options)
    from wsmon.ui import run_ui

    clock = Clock()

    def make() -> Engine:
        source = LiveCluster(_always(descriptor), clock)
        operator = RefusingOperator("this console is locked; use the command line, or the console that started it")
        return Engine(source, operator, ClusterModel(descriptor.cluster), clock)

    thread = EngineThread(make)
    thread.start()
    try:
        return run_ui(thread, theme=options.theme, armed=False, embedded=False, for_s=options.for_s)
    finally:
        thread.stop()


def _with_console(target: str | None, use: "Callable[[Console], Awaitable[int]]") -> int:
    """Take one look at the target, then `use` the console."""

    async def run() -> int:
        from wsmon.headless import Look
        from wsmon.sources.locate import locate

        descriptor = await locate(target)
        look = Look(supervisor=descriptor.supervisor is not None, redis=descriptor.redis is not None)
        async with _console(_always(descriptor), descriptor.cluster) as console:
            await console.look(look)
            return await use(console)

    return asyncio.run(run())


def _status(options: argparse.Namespace) -> int:
    async def show(console: "Console") -> int:
        from wsmon.views.status import exit_status, status_lines

        document = console.status()
        if options.json:
            print(json.dumps(document))
        else:
            print("\n".join(status_lines(console.frame())))
        return exit_status(str(document["health"]))

    return _with_console(options.target, show)


def _events(options: argparse.Namespace) -> int:
    async def show(console: "Console") -> int:
        await console.print_events(as_json=options.json, follow=options.follow)
        return 0

    return _with_console(options.target, show)


def _act(verb: str, options: argparse.Namespace) -> int:
    op = "abort" if verb == "undrain" else verb
    args: dict[str, object] = {}
    if verb == "kill":
        args["signal"] = options.signal
    if verb == "freeze":
        args["ttl_s"] = options.ttl
    action = Action(
        op=op,
        node=options.node,
        args=args,  # type: ignore[arg-type]  # A dict of plain values.
        reason=options.reason,
        dry_run=options.dry_run,
        key=uuid.uuid4().hex,
    )

    async def perform(console: "Console") -> int:
        from wsmon.protocol.codec import encode_frame
        from wsmon.protocol.frames import ErrorBody, Result

        rows = {row.id: row for row in console.frame().nodes}
        if options.node not in rows:
            raise WsmonError(
                f"there is no node {options.node!r}", hint=f"there are: {', '.join(sorted(rows)) or 'none'}"
            )
        if verb in ("kill", "stop", "drain") and not (options.yes or options.dry_run) and sys.stdin.isatty():
            _confirm(verb, options.node, rows[options.node].connections)
        outcome = await console.perform(action)
        reached: str | None = ""
        if outcome.ok and options.wait and op in WAIT_FOR and not options.dry_run:
            reached = await console.wait_for_node(options.node, WAIT_FOR[op], within_s=WAIT_WITHIN_S)
        if options.json:
            error = None if outcome.ok else ErrorBody(code=outcome.code, message=outcome.message)
            effect = dict(outcome.effect) | ({"state": reached} if reached else {})
            print(
                encode_frame(Result(id=action.key, ok=outcome.ok, rev=outcome.rev, error=error, effect=effect or None))
            )
        elif outcome.ok:
            print(_done(verb, options.node, reached, dry_run=options.dry_run))
        else:
            raise WsmonError(f"{verb} {options.node}: {outcome.message}")
        return 0 if outcome.ok and reached is not None else 1

    return _with_console(options.target, perform)


def _done(verb: str, node: str, reached: str | None, *, dry_run: bool) -> str:
    if dry_run:
        return f"{verb} {node}: would be done"
    if reached is None:
        return f"{verb} {node}: asked for, but not there yet after {WAIT_WITHIN_S:g} s"
    return f"{verb} {node}: {reached or 'done'}"


def _confirm(verb: str, node: str, connections: int | None) -> None:
    cost = "" if connections is None else f" ({connections} connections)"
    print(f"{verb} {node}{cost}? Type the node's name to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != node:
        raise WsmonError(f"{verb} {node}: not confirmed, nothing was done")
