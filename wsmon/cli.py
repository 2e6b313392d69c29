"""The command line: flags → mode. The only place that wires the parts together.

Parsing comes first and imports nothing heavy; every mode imports what it needs. A wrong flag or value is one line on
stderr (in JSON mode one object on stdout) that says what is allowed, and exit status 2.
"""

import argparse
import asyncio
import errno
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsmon.agent.redis_url import parse_redis_url
from wsmon.commands import ACTION_VERBS, KILL_SIGNALS, Action, Verb
from wsmon.errors import AlreadyRunningError, StartError, UsageError, WsmonError
from wsmon.modes import Parser, number_between, on_terminal

if TYPE_CHECKING:
    from wsmon.config import Settings
    from wsmon.embedded import EmbeddedCluster
    from wsmon.engine import Engine
    from wsmon.engine_thread import EngineThread
    from wsmon.headless import Console
    from wsmon.model.script import Script
    from wsmon.protocol.descriptor import Descriptor
    from wsmon.recording.recorder import Recorder
    from wsmon.sources.clock import Clock

PROFILES: Final = ("demo", "production", "test")
ACTIONS: Final = {verb.name: verb for verb in ACTION_VERBS}
MODES: Final = ("replay", "report", "doctor", "conform", "theme", "completion")
"""Verbs with a module of their own."""
VERBS: Final = ("attach", "status", "events", "run", *MODES, *ACTIONS)
WAIT_WITHIN_S: Final = 60.0
COMPLAINT_MAX: Final = 2_000
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a disk answers that takes no more."""
OVERVIEW: Final = """\
wsmon [FLAGS]                     start a cluster here and show it live
       wsmon attach [TARGET]             show a cluster that runs already (locked until armed)
       wsmon status [TARGET]             one look; exit 0 healthy, 1 degraded, 3 unreachable
       wsmon events [TARGET]             what happened; --follow goes on
       wsmon run SCENARIO                play a scenario on a cluster of its own and judge it; exit 0 passed, 1 failed
       wsmon replay FILE | report FILE   a recording in the dashboard; its failover scorecards
       wsmon ACTION NODE [TARGET]        drain, abort, cordon, uncordon, kill, start, stop, restart, freeze, thaw
       wsmon fault NODE|LINK [TARGET]    break something on purpose, for --ttl seconds; `wsmon heal` ends it before
       wsmon doctor [TARGET]             what will work here, and what to change
       wsmon conform ENDPOINT            does an admin socket keep the protocol? exit 0 it does, 1 it does not
       wsmon theme list|check NAME       themes, and how well one can be read
       wsmon completion bash|zsh|fish    a script that completes commands and flags

TARGET is a context of the configuration file, a descriptor's path, the name of a cluster on this machine or a Redis URL;
without it: the cluster that another `wsmon` runs on this machine. `wsmon COMMAND --help` tells more.
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status."""
    as_json = "--json" in arguments
    # What happens is told by events and errors; a log line in between would break screens and line formats.
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        status = _run(list(arguments))
        sys.stdout.flush()
    except WsmonError as error:
        _complain(error, as_json=as_json)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read our lines has seen enough: that is no error.
        _silence_stdout()
        return 0
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _silence_stdout()
        print(f"wsmon: what is printed cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _silence_stdout() -> None:
    """Keep stdout from complaining at exit about what it still holds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: WsmonError, *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        print(json.dumps(document), flush=True)
        return
    from wsmon.views.text import clean

    # What a peer answered, or a file is called, may be in it.
    hint = f" ({clean(error.hint, COMPLAINT_MAX)})" if error.hint else ""
    print(f"wsmon: {clean(error.message, COMPLAINT_MAX)}{hint}", file=sys.stderr)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        options = _embedded_parser().parse_args(arguments)
        if options.version:
            print(f"wsmon {_version()}")
            return 0
        return _embedded(options)
    verb, rest = arguments[0], arguments[1:]
    match verb:
        case "attach":
            return _attach(_target_parser("attach", "show a running cluster; locked until ! arms it").parse_args(rest))
        case "status":
            return _status(_target_parser("status", "one look at a cluster").parse_args(rest))
        case "events":
            parser = _target_parser("events", "what happened in a cluster")
            parser.add_argument("--follow", "-f", action="store_true", help="go on until interrupted")
            return _events(parser.parse_args(rest))
        case "run":
            return _play(_play_parser().parse_args(rest))
        case "restart":
            return _restart(_parse_restart(rest))
        case _ if verb in MODES:
            run: Callable[[list[str]], int] = importlib.import_module(f"wsmon.modes.{verb}").run
            return run(rest)
        case _ if verb in ACTIONS:
            return _act(ACTIONS[verb], _parse_action(ACTIONS[verb], rest))
        case _:
            raise UsageError(f"there is no command {verb!r}", hint=f"allowed: {', '.join(VERBS)}")


def _seconds(text: str) -> float:
    return number_between(text, least=0.001, most=1e9)


def _rate(text: str) -> float:
    return number_between(text, least=0, most=100_000)


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


def _embedded_parser() -> Parser:
    parser = Parser(prog="wsmon", usage=OVERVIEW, allow_abbrev=False, add_help=True)
    parser.add_argument("--version", action="store_true", help="print the version and end")
    parser.add_argument("--nodes", type=_whole(1, 32), default=3, help="nodes to start (3)")
    parser.add_argument("--clients", type=_whole(0, 20_000), default=60, help="synthetic clients (60)")
    parser.add_argument("--rate", type=_rate, default=20.0, help="messages published a second by all clients (20)")
    parser.add_argument("--profile", choices=PROFILES, default="demo", help="preset of all timings (demo)")
    parser.add_argument("--cluster", default="demo", help="the cluster's name (demo)")
    parser.add_argument(
        "--port", type=_whole(0, 65_535), default=8800, help="the gateway's port, 0 for a free one (8800)"
    )
    parser.add_argument("--redis", type=_redis_url, metavar="URL", help="use this Redis instead of starting one")
    _add_looks(parser)
    parser.add_argument("--plain", action="store_true", help="lines instead of a dashboard")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a dashboard")
    parser.add_argument("--for", dest="for_s", type=_seconds, metavar="SECONDS", help="end after so many seconds")
    parser.add_argument("--tour", action="store_true", help="be shown around: a scenario plays, with captions")
    return parser


def _add_looks(parser: Parser) -> None:
    """Add the flags of everything that shows a dashboard."""
    add = parser.add_argument
    add("--theme", default=None, help="a theme's name or file (dark); `wsmon theme list` names them")
    add("--glyphs", choices=("auto", "braille", "block", "ascii"), default=None, help="what graphs are made of (auto)")
    add("--slow-link", action="store_true", help="spare the link from the start; else it is measured")
    add("--record", metavar="FILE", help="record everything into a new file; `wsmon replay FILE` shows it")


def _target_parser(verb: str, description: str) -> Parser:
    parser = Parser(prog=f"wsmon {verb}", description=description, allow_abbrev=False)
    parser.add_argument("target", nargs="?", metavar="TARGET", help="descriptor, cluster name or Redis URL")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    if verb == "attach":
        _add_looks(parser)
        parser.add_argument("--plain", action="store_true", help="lines instead of a dashboard")
        parser.add_argument("--for", dest="for_s", type=_seconds, metavar="SECONDS", help="end after so many seconds")
    return parser


def _parse_action(verb: Verb, words: list[str]) -> argparse.Namespace:
    parser = Parser(prog=f"wsmon {verb.name}", description=verb.help, allow_abbrev=False)
    add = parser.add_argument
    if verb.op in ("fault", "heal"):
        add(
            "node", nargs=None if verb.op == "fault" else "?", metavar="NODE|LINK", help="such as n1, redis, gateway-n1"
        )
    else:
        add("node", metavar="NODE")
    add("target", nargs="?", metavar="TARGET", help="descriptor, cluster name or Redis URL")
    add("--reason", default="", help="goes to the ledger")
    add("--dry-run", action="store_true", help="say what would be done")
    add("--yes", "-y", action="store_true", help="do not ask")
    if verb.op not in ("fault", "heal"):
        add("--wait", action="store_true", help="wait until the node is where it should be")
    add("--json", action="store_true", help="print the result as JSON")
    match verb.op:
        case "kill":
            add("--signal", choices=KILL_SIGNALS, default="KILL", help="(KILL)")
        case "freeze":
            add("--ttl", type=_seconds, default=30.0, metavar="SECONDS", help="thaws by itself (30)")
        case "fault":
            kinds = "latency, loss, bandwidth, blackhole or reset of a link; kill or freeze of a process"
            add("--kind", required=True, metavar="KIND", help=f"{kinds}; stall, restart or drop_pubsub of redis")
            add("--value", metavar="VALUE", help="200ms±50ms, 5%%, 64kB/s, or to, from, both for a blackhole")
            add("--ttl", type=_seconds, required=True, metavar="SECONDS", help="heals by itself after this time")
            add("--seed", type=_whole(0, 2**53), metavar="N", help="makes jitter and loss fall the same way again")
        case "heal":
            add("--all", action="store_true", help="whatever was broken on purpose")
        case _:
            pass
    options = parser.parse_args(words)
    if verb.op == "heal":
        if options.all and options.node is not None and options.target is None:
            options.node, options.target = None, options.node  # The one name given is that of the cluster.
        if options.all == (options.node is not None):
            raise UsageError("say what to heal", hint="`wsmon heal NODE`, `wsmon heal LINK` or `wsmon heal --all`")
    return options


def _parse_restart(words: list[str]) -> argparse.Namespace:
    description = "empty a node, restart its process and wait until it is online; with --all one node after the other"
    parser = Parser(prog="wsmon restart", description=description, allow_abbrev=False)
    add = parser.add_argument
    add("node", nargs="?", metavar="NODE")
    add("target", nargs="?", metavar="TARGET", help="descriptor, cluster name or Redis URL")
    add("--all", action="store_true", help="every node that is online, one at a time")
    add("--reason", default="", help="goes to the ledger")
    add("--dry-run", action="store_true", help="say in which order, and how many clients move")
    add("--yes", "-y", action="store_true", help="do not ask")
    add("--wait", action="store_true", help="changes nothing: a restart is always waited for")
    add("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(words)
    if options.all and options.node is not None and options.target is None:
        options.node, options.target = None, options.node  # The one name given is that of the cluster.
    if options.all == (options.node is not None):
        raise UsageError("say what to restart", hint="`wsmon restart NODE` or `wsmon restart --all`")
    return options


def _play_parser() -> Parser:
    description = "start a cluster, play a scenario on it, and print its failover scorecard"
    parser = Parser(prog="wsmon run", description=description, allow_abbrev=False)
    parser.add_argument("scenario", nargs="?", metavar="SCENARIO", help="a file, or the name of a shipped scenario")
    parser.add_argument("--json", action="store_true", help="print the scorecard as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the scorecard as Markdown")
    parser.add_argument("--list", action="store_true", help="print the shipped scenarios and end")
    parser.add_argument("--quiet", "-q", action="store_true", help="do not say on stderr how far it is")
    return parser


def _action_args(options: argparse.Namespace) -> dict[str, str | float]:
    """Return what the operation takes besides its target: the flags that were given and have a meaning to it."""
    names = {"signal": "signal", "kind": "kind", "value": "value", "ttl": "ttl_s", "seed": "seed"}
    given = {name: getattr(options, flag, None) for flag, name in names.items()}
    return {name: value for name, value in given.items() if value is not None}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wsmon")
    except PackageNotFoundError:
        return "unknown"


# Modes


def _embedded(options: argparse.Namespace) -> int:
    from wsmon.agent.runtime_dir import ensure_private, runtime_dir
    from wsmon.embedded import EmbeddedCluster

    settings = _settings(options)
    tour = None
    if options.tour:
        from wsmon.scenario import load

        if not _wants_dashboard(options):
            raise UsageError("--tour needs a terminal", hint="`wsmon run tour` plays the same without one")
        tour = load("tour")
        setting = tour.cluster
        options.nodes, options.clients, options.rate = setting.nodes, setting.clients, setting.rate
        options.profile = setting.profile
    directory = runtime_dir(options.cluster)
    ensure_private(directory)
    _refuse_second(options.cluster)
    arguments = ["--nodes", str(options.nodes), "--clients", str(options.clients), "--rate", str(options.rate)]
    arguments += ["--profile", options.profile, "--port", str(options.port)]
    embedded = EmbeddedCluster(options.cluster, arguments, redis=options.redis)
    clock, recorder = _recorded(options, options.cluster, embedded=True)
    try:
        if _wants_dashboard(options):
            return _dashboard(embedded, options, settings, tour=tour, clock=clock, recorder=recorder)
        embedded.launch()
        return _follow(_console(embedded.locate, embedded.cluster, embedded, clock=clock, recorder=recorder), options)
    finally:
        embedded.stop()
        if recorder is not None:  # Nobody else does if nothing was ever started.
            recorder.stop()


def _wants_dashboard(options: argparse.Namespace) -> bool:
    """Say whether a dashboard is wanted and the terminal can show one; else lines do."""
    return on_terminal() and not options.plain and not options.json


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
    locate: "Callable[[], Awaitable[Descriptor]]",
    cluster: str,
    embedded: "EmbeddedCluster | None" = None,
    *,
    clock: "Clock | None" = None,
    recorder: "Recorder | None" = None,
) -> "Console":
    from wsmon.headless import Console
    from wsmon.model.cluster import ClusterModel
    from wsmon.operators.admin import AdminOperator, this_actor
    from wsmon.sources.clock import Clock
    from wsmon.sources.merge import LiveCluster

    clock = clock or Clock()
    source = LiveCluster(locate, clock, ended=None if embedded is None else embedded.ended)
    model = ClusterModel(cluster, embedded=embedded is not None)
    return Console(source, AdminOperator(source.client, this_actor()), model, clock, recorder=recorder)


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


def _dashboard(
    embedded: "EmbeddedCluster",
    options: argparse.Namespace,
    settings: "Settings",
    *,
    tour: "Script | None",
    clock: "Clock",
    recorder: "Recorder | None",
) -> int:
    from wsmon.ui import run_ui

    thread = _engine_thread(embedded.locate, options.cluster, clock, recorder, armed=True, embedded=embedded, tour=tour)
    try:
        status = run_ui(thread, settings, armed=True, embedded=True, for_s=options.for_s, ready=thread.start)
        if thread.frame.ended:
            raise StartError(thread.frame.ended)
        return status
    finally:
        thread.stop()


def _attach(options: argparse.Namespace) -> int:
    from wsmon.sources.locate import locate

    settings = _settings(options)
    target, armed = settings.resolve(options.target)
    descriptor = asyncio.run(locate(target))
    clock, recorder = _recorded(options, descriptor.cluster, embedded=False)
    try:
        if not _wants_dashboard(options):
            return _follow(_console(_always(descriptor), descriptor.cluster, clock=clock, recorder=recorder), options)
        from wsmon.ui import run_ui

        thread = _engine_thread(_always(descriptor), descriptor.cluster, clock, recorder, armed=armed)
        try:
            return run_ui(thread, settings, armed=armed, embedded=False, for_s=options.for_s, ready=thread.start)
        finally:
            thread.stop()
    finally:
        if recorder is not None:  # Nobody else does if nothing was ever started.
            recorder.stop()


def _engine_thread(
    locate: "Callable[[], Awaitable[Descriptor]]",
    cluster: str,
    clock: "Clock",
    recorder: "Recorder | None",
    *,
    armed: bool,
    embedded: "EmbeddedCluster | None" = None,
    tour: "Script | None" = None,
) -> "EngineThread":
    """Return the engine of a dashboard; it starts the embedded cluster, if there is one, and keeps the last minutes."""
    from wsmon.engine_thread import EngineThread

    companion = None
    if tour is not None:
        from wsmon import scenario

        companion = scenario.companion(tour, clock)

    def make() -> "Engine":
        # In the engine's own thread, after the first screen: nothing of this is needed to draw.
        if embedded is not None:
            embedded.launch()
        from wsmon.engine import Engine
        from wsmon.model.cluster import ClusterModel
        from wsmon.operators.admin import AdminOperator, this_actor
        from wsmon.rolling import RollingOperator
        from wsmon.sources.merge import LiveCluster

        source = LiveCluster(locate, clock, ended=None if embedded is None else embedded.ended)
        operator = RollingOperator(AdminOperator(source.client, this_actor()), clock)
        model = ClusterModel(cluster, embedded=embedded is not None)
        kept = recorder or _recorder(cluster, clock, None, embedded=embedded is not None)
        engine = Engine(source, operator, model, clock, on_calm=source.calm, armed=armed, recorder=kept)
        operator.engine = engine
        return engine

    return EngineThread(make, cluster=cluster, companion=companion)


def _settings(options: argparse.Namespace) -> "Settings":
    """Return what the flags, the environment and the configuration file settle together."""
    from wsmon import config

    slow = getattr(options, "slow_link", False) or None
    flags = config.Flags(theme=getattr(options, "theme", None), glyphs=getattr(options, "glyphs", None), slow_link=slow)
    return config.load(flags)


def _recorded(options: argparse.Namespace, cluster: str, *, embedded: bool) -> "tuple[Clock, Recorder | None]":
    """Return a clock, and what records by it into the file that is named, if one is.

    Raises:
        WsmonError: the file is there already, or cannot be created.

    """
    from wsmon.sources.clock import Clock

    clock = Clock()
    return clock, None if options.record is None else _recorder(cluster, clock, options.record, embedded=embedded)


def _recorder(cluster: str, clock: "Clock", file: str | None, *, embedded: bool) -> "Recorder":
    from wsmon.recording.recorder import Recorder
    from wsmon.recording.tape import Tape

    path = None if file is None else Path(file).expanduser()
    return Recorder(Tape(cluster, embedded=embedded), clock, path=path)


def _with_console(target: str | None, use: "Callable[[Console], Awaitable[int]]") -> int:
    """Take one look at the target, then `use` the console."""

    async def run() -> int:
        from wsmon.headless import Look
        from wsmon.sources.locate import locate

        descriptor = await locate(_settings(argparse.Namespace()).resolve(target)[0])
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


def _act(verb: Verb, options: argparse.Namespace) -> int:
    import uuid

    node = options.node or ""
    what = f"{verb.name} {node or '--all'}"
    action = Action(
        op=verb.op,
        node=node,
        args=_action_args(options),
        reason=options.reason,
        dry_run=options.dry_run,
        key=uuid.uuid4().hex,
    )

    async def perform(console: "Console") -> int:
        from wsmon.protocol.codec import encode_frame
        from wsmon.protocol.frames import ErrorBody, Result

        rows = {row.id: row for row in console.frame().nodes}
        if verb.op not in ("fault", "heal") and node not in rows:  # Those are for links and other processes, too.
            raise WsmonError(f"there is no node {node!r}", hint=f"there are: {', '.join(sorted(rows)) or 'none'}")
        if verb.asks and not (options.yes or options.dry_run) and sys.stdin.isatty():
            _confirm(verb.name, node, rows[node].connections if node in rows else None)
        outcome = await console.perform(action)
        reached: str | None = ""
        if outcome.ok and verb.wait_for and options.wait and not options.dry_run:
            reached = await console.wait_for_node(node, verb.wait_for, within_s=WAIT_WITHIN_S)
        if options.json:
            error = None if outcome.ok else ErrorBody(code=outcome.code, message=outcome.message)
            effect = dict(outcome.effect) | ({"state": reached} if reached else {})
            print(
                encode_frame(Result(id=action.key, ok=outcome.ok, rev=outcome.rev, error=error, effect=effect or None))
            )
        elif outcome.ok:
            print(_done(what, reached, dry_run=options.dry_run))
        else:
            raise WsmonError(f"{what}: {outcome.message}")
        return 0 if outcome.ok and reached is not None else 1

    return _with_console(options.target, perform)


def _restart(options: argparse.Namespace) -> int:
    import uuid

    key = uuid.uuid4().hex
    what = f"restart {options.node or '--all'}"

    async def perform(console: "Console") -> int:
        from wsmon.model.rolling import moves
        from wsmon.protocol.codec import encode_frame
        from wsmon.protocol.frames import ErrorBody, Result
        from wsmon.rolling import order, plan_lines, plan_object, roll, see

        seen = see(console.model, time.time())
        if options.node is not None and options.node not in seen.nodes:
            raise WsmonError(
                f"there is no node {options.node!r}", hint=f"there are: {', '.join(sorted(seen.nodes)) or 'none'}"
            )
        nodes = (options.node,) if options.node is not None else order(seen)
        planned = moves(nodes, seen)
        if options.dry_run:
            if options.json:
                print(encode_frame(Result(id=key, ok=True, rev=0, effect=plan_object(planned))))
            else:
                print("\n".join((f"{what}: would be done", *plan_lines(planned))))
            return 0
        if not options.yes and sys.stdin.isatty():
            if options.all:
                print("\n".join(plan_lines(planned)), file=sys.stderr)
                _confirm_name(f"restart all {len(nodes)} nodes, one at a time", "cluster", console.model.cluster)
            else:
                _confirm("restart", options.node, seen.nodes[options.node].connections)

        def tell(line: str) -> None:
            if not options.json:
                print(line, file=sys.stderr, flush=True)

        over = await roll(console.engine, nodes, clock=time.time, reason=options.reason, tell=tell)
        if options.json:
            error = None if over.ok else ErrorBody(code="stopped", message=over.sentence)
            print(encode_frame(Result(id=key, ok=over.ok, rev=0, error=error, effect={"order": [*nodes]})))
        elif over.ok:
            print(f"{what}: {over.sentence}")
        else:
            raise WsmonError(f"{what}: {over.sentence}")
        return 0 if over.ok else 1

    return _with_console(options.target, perform)


def _play(options: argparse.Namespace) -> int:
    from wsmon.scenario import load, markdown_lines, run, shipped, text_lines

    if options.list:
        for name in shipped():
            print(f"{name:<20} {load(name).title}")
        return 0
    if options.scenario is None:
        raise UsageError("say which scenario", hint=f"a file, or one of {', '.join(shipped())}")
    script = load(options.scenario)

    def tell(line: str) -> None:
        if not options.quiet:
            print(line, file=sys.stderr, flush=True)

    card = run(script, tell=tell)
    if card is None:
        return 130
    if options.json:
        from wsmon.model.scorecard import scorecard_object

        print(json.dumps(scorecard_object(card)))
    else:
        print("\n".join(markdown_lines(card) if options.markdown else text_lines(card)))
    return 0 if card.passed else 1


def _done(what: str, reached: str | None, *, dry_run: bool) -> str:
    if dry_run:
        return f"{what}: would be done"
    if reached is None:
        return f"{what}: asked for, but not there yet after {WAIT_WITHIN_S:g} s"
    return f"{what}: {reached or 'done'}"


def _confirm(verb: str, node: str, connections: int | None) -> None:
    cost = "" if connections is None else f" ({connections} connections)"
    _confirm_name(f"{verb} {node}{cost}", "node", node)


def _confirm_name(what: str, kind: str, name: str) -> None:
    print(f"{what}? Type the {kind}'s name to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise WsmonError(f"{what}: not confirmed, nothing was done")
