"""wsmon's own look at each node's `/health`: a second opinion beside the checker's, on fresh connections."""

import asyncio
from collections.abc import Callable

from wsmon.model.inputs import HttpSample, Input

PROBE_EVERY_S = 2.0
TIMEOUT_S = 1.0


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
        import httpx  # noqa: PLC0415  # 0.3 s of CPU: after the first picture, in this thread.

        clock = asyncio.get_running_loop().time
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, limits=limits) as client:

            async def probe(name: str, address: str) -> None:
                started = clock()
                try:
                    status = (await client.get(f"http://{address}/health")).status_code
                except (httpx.HTTPError, httpx.InvalidURL):
                    status = 0
                emit(
                    HttpSample(
                        id=name, ok=status == 200, status=status, ms=(clock() - started) * 1_000, at=self._clock()
                    )
                )

            while True:
                async with asyncio.TaskGroup() as tasks:
                    for name, address in self._addresses.items():
                        tasks.create_task(probe(name, address), name=f"probe-{name}")
                await asyncio.sleep(PROBE_EVERY_S)
