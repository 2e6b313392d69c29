"""wsmon's own look at each node's `/health`, on fresh connections: what is shown while no checker tells."""

import asyncio
import math
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from wsmon.model.inputs import HttpSample, Input
from wsmon.protocol.session import SILENCE_S

PROBE_EVERY_S: Final = 1.0
"""How often a node is probed that did not answer well."""
WELL_EVERY_S: Final = 5.0
"""… and one that did."""
TIMEOUT_S: Final = 1.0
REST_S: Final = SILENCE_S
"""For how long a checker's word makes our own look needless: after that, nothing of the checker is shown any more."""


class HttpProbes:
    """Probes the addresses that it is told while no checker does. `run` until cancelled.

    With a checker at work nothing is probed, and the HTTP client, 4 MB, is not even loaded.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._addresses: dict[str, str] = {}
        self._checked_at = -math.inf
        """When a checker spoke last, on the loop's clock."""

    def want(self, addresses: dict[str, str]) -> None:
        """Probe these nodes (id → `host:port`) and no others."""
        self._addresses = addresses

    def rest(self) -> None:
        """A checker has spoken of its targets: none of this is needed for a while. To be called on the loop."""
        self._checked_at = asyncio.get_running_loop().time()

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Probe until cancelled, whenever it is needed."""
        self.rest()  # A checker that has just begun is given the same time.
        while True:
            if self._addresses and not self._rests():
                await self._probe(emit)
            await asyncio.sleep(PROBE_EVERY_S)

    async def _probe(self, emit: Callable[[Input], None]) -> None:
        """Probe as long as it is needed."""
        with _hidden("click"):
            import httpx  # noqa: PLC0415  # 0.3 s of CPU: when it is needed, in this thread.

        clock = asyncio.get_running_loop().time
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=0)
        # All addresses are plain HTTP, so no certificate authority is ever needed: loading them takes 3 MB.
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        due: dict[str, float] = {}
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, limits=limits, verify=nobody) as client:

            async def probe(name: str, address: str) -> None:
                started = clock()
                try:
                    status = (await client.get(f"http://{address}/health")).status_code
                except (httpx.HTTPError, httpx.InvalidURL):
                    status = 0
                ok, took_s = status == 200, clock() - started
                due[name] = started + (WELL_EVERY_S if ok else PROBE_EVERY_S)
                emit(HttpSample(id=name, ok=ok, status=status, ms=took_s * 1_000, at=self._clock()))

            while not self._rests():
                now = clock()
                for name in due.keys() - self._addresses.keys():
                    del due[name]
                async with asyncio.TaskGroup() as tasks:
                    for name, address in self._addresses.items():
                        if now >= due.get(name, now):
                            tasks.create_task(probe(name, address), name=f"probe-{name}")
                await asyncio.sleep(PROBE_EVERY_S)

    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() - self._checked_at < REST_S


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Hide a package from what is imported meanwhile: with click, httpx loads a command line of 4 MB beside itself."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None is how a module is hidden.
    known = modules.get(name)
    modules[name] = None
    try:
        yield
    finally:
        if known is None:
            del modules[name]
        else:
            modules[name] = known
