"""The fleet: a process full of synthetic clients that publish, subscribe, and audit what they are handed."""

import gc
from typing import Final

from sample_cluster.fleet.fleet import Fleet
from sample_cluster.role import RoleSettings, run_role

__all__ = ["Fleet", "run_fleet"]

GARBAGE_AFTER: Final = (2_000, 25, 100)
"""Thresholds of the garbage collector. Thousands of clients are half a million objects that live on: with the defaults a
quarter of a failover's CPU time went into looking at all of them again and again, up to 0.1 s without a break."""


async def run_fleet(
    settings: RoleSettings, *, gateway: str, clients: int, rate: float, seed: int | None = None
) -> None:
    """Run `clients` clients of the gateway at `ws://host:port/ws`, which publish `rate` messages/s in total."""
    gc.set_threshold(*GARBAGE_AFTER)
    await run_role(settings, lambda role: Fleet(role, gateway=gateway, clients=clients, rate=rate, seed=seed).serve())
