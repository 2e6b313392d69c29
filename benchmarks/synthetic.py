"""A dashboard on pictures that were made before: what it costs is drawing alone. Run by `benchmarks.dashboard`.

`python -m benchmarks.synthetic NODES PATTERN [--lean] [--alarms] [--stalls FILE]`; patterns: idle, tick (every value
of every node changes once a second), stream (the nodes change one after the other, all within a second).
"""

import argparse
import asyncio
import json
import os
import random
import time
import zlib
from dataclasses import replace
from pathlib import Path

from wsmon.commands import Action
from wsmon.protocol.states import NodeState
from wsmon.ui import FRAMES_PER_S
from wsmon.views.frame import (
    Audit,
    EventRow,
    Frame,
    Header,
    Health,
    Looking,
    NodeRow,
    ServiceRow,
    Severity,
    Timeline,
)

VARIANTS = 7
ALARM_EVERY_S = 2.3
AT = 1_790_000_000.0


def row(number: int, dice: random.Random) -> NodeRow:
    """Return a busy node."""
    return NodeRow(
        id=f"n{number}",
        state=NodeState.ONLINE,
        since_s=300.0 + dice.randrange(60),
        why="online; heartbeat ok, http ok",
        heartbeat="ok",
        http="ok",
        misses_needed=3,
        connections=dice.randrange(100, 999),
        connections_delta=dice.randrange(-9, 9),
        messages_in_s=dice.uniform(1, 900),
        messages_out_s=dice.uniform(1_000, 9_000),
        lag_ms=dice.uniform(0.1, 9),
        rtt_ms=dice.uniform(0.1, 9),
        cpu=dice.uniform(1, 99),
        rss=dice.randrange(50, 99) * 2**20,
        fds=dice.randrange(40, 99),
        uptime_s=330.0 + dice.randrange(60),
        pid=4_000 + number,
        process="running",
        unacked=dice.randrange(99),
        lagging=0,
        retransmits=dice.randrange(99),
    )


def alarm_text(now: float) -> str:
    """Return a text that says when it was made, and that half of it is not taken for the whole."""
    return f"alarm {now:.3f}/{zlib.crc32(f'{now:.3f}'.encode()) % 1_000:03}."


class Pictures:
    """A source of frames that costs next to nothing."""

    def __init__(self, nodes: int, pattern: str, *, alarms: bool) -> None:
        dice = random.Random(7)
        self._variants = [tuple(row(number, dice) for number in range(1, nodes + 1)) for _ in range(VARIANTS)]
        self._rows = list(self._variants[0])
        self._pattern = pattern
        self._alarms = alarms
        self._began = time.monotonic()
        self._step = self._alarm = -1
        self._events: tuple[EventRow, ...] = ()
        self._kept = Frame(
            header=Header(
                cluster="bench",
                health=Health.HEALTHY,
                at=AT,
                nodes_online=nodes,
                nodes_total=nodes,
                clients_connected=500,
                clients_reconnecting=0,
                audit=Audit(published=1, delivered=1),
            ),
            nodes=self._variants[0],
            services=(ServiceRow(id="redis", kind="redis", state="running", good=True),),
            timeline=Timeline(now_at=AT),
        )

    @property
    def frame(self) -> Frame:
        """The picture of this moment."""
        passed = time.monotonic() - self._began
        nodes = len(self._rows)
        step = {"idle": 0, "tick": int(passed), "stream": int(passed * nodes)}[self._pattern]
        alarm = int(passed / ALARM_EVERY_S) if self._alarms else 0
        if step == self._step and alarm == self._alarm:
            return self._kept
        kept = self._kept
        if alarm != self._alarm and self._alarms:
            event = EventRow(
                key=("bench", 1, alarm),
                at=AT + passed,
                source="bench",
                kind="alarm",
                severity=Severity.BAD,
                text=alarm_text(time.monotonic()),
            )
            self._events = (*self._events[-50:], event)
        if step != self._step and self._pattern == "tick":
            kept = replace(kept, nodes=self._variants[step % VARIANTS])
        elif step != self._step and self._pattern == "stream":
            for number in range(max(self._step, step - nodes) + 1, step + 1):
                self._rows[number % nodes] = self._variants[number // nodes % VARIANTS][number % nodes]
            kept = replace(kept, nodes=tuple(self._rows))
        if self._pattern != "idle":
            second = int(passed)
            audit = Audit(published=second * 400, delivered=second * 8_000)
            kept = replace(kept, header=replace(kept.header, at=AT + second, audit=audit))
        self._step, self._alarm = step, alarm
        self._kept = replace(kept, events=self._events)
        return self._kept

    def look_at(self, looking: Looking) -> None:
        """Every picture holds all there is."""

    def perform(self, action: Action) -> None:
        """Nothing can be done to a picture."""


async def watch_stalls(late_ms: list[float]) -> None:
    """Note by how much the loop is late, a hundred times a second."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        late_ms.append(max(0.0, (loop.time() - due) * 1e3))


def main() -> None:
    """Show the pictures until `q`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("nodes", type=int)
    parser.add_argument("pattern", choices=("idle", "tick", "stream"))
    parser.add_argument("--lean", action="store_true")
    parser.add_argument("--alarms", action="store_true")
    parser.add_argument("--stalls", type=Path)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    source = Pictures(options.nodes, options.pattern, alarms=options.alarms)
    # Both are read when Textual is imported.
    os.environ.setdefault("TEXTUAL_FPS", FRAMES_PER_S)
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    from wsmon.ui.app import WsmonApp  # noqa: PLC0415

    app = WsmonApp(source, theme="dark", armed=False, embedded=False, slow_link=options.lean)
    late_ms: list[float] = []

    async def run() -> None:
        watch = asyncio.create_task(watch_stalls(late_ms)) if options.stalls else None
        await app.run_async()
        if watch is not None:
            watch.cancel()

    if options.profile:
        import cProfile  # noqa: PLC0415

        profile = cProfile.Profile()
        profile.runcall(asyncio.run, run())
        profile.dump_stats(options.profile)
    else:
        asyncio.run(run())
    if options.stalls:
        options.stalls.write_text(json.dumps(late_ms), encoding="utf-8")


if __name__ == "__main__":
    main()
