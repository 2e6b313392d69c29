"""wsmon's own look at each node's `/health`: a second opinion beside the checker's, on fresh connections."""

import asyncio
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from wsmon.model.inputs import HttpSample, Input

PROBE_EVERY_S: Final = 1.0
"""How often a node is probed that did not answer well."""
WELL_EVERY_S: Final = 5.0
"""… and one that did."""
TIMEOUT_S: Final = 1.0


class HttpProbes:
    """Probes the addresses that it is told. `run` until cancelled."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._addresses: dict[str, str] = {}

    def want(self, addresses: dict[str, str]) -> None:
        """Probe these nodes (id → `host:port`) and no others."""
        self._addresses = addresses

    async def run(self, emit: Callable[[Input], None]) -> None:
        """Probe until cancelled."""
        with _hidden("click"):
            import httpx  # noqa: PLC0415  # 0.3 s of CPU: after the first picture, in this thread.

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

            while True:
                now = clock()
                for name in due.keys() - self._addresses.keys():
                    del due[name]
                async with asyncio.TaskGroup() as tasks:
                    for name, address in self._addresses.items():
                        if now >= due.get(name, now):
                            tasks.create_task(probe(name, address), name=f"probe-{name}")
                await asyncio.sleep(PROBE_EVERY_S)


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
