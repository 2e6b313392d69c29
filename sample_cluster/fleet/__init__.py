"""The fleet: a process full of synthetic clients that publish, subscribe, and audit what they are handed."""

from sample_cluster.fleet.fleet import Fleet
from sample_cluster.role import RoleSettings, run_role

__all__ = ["Fleet", "run_fleet"]


async def run_fleet(
    settings: RoleSettings, *, gateway: str, clients: int, rate: float, seed: int | None = None
) -> None:
    """Run `clients` clients of the gateway at `ws://host:port/ws`, which publish `rate` messages/s in total."""
    await run_role(settings, lambda role: Fleet(role, gateway=gateway, clients=clients, rate=rate, seed=seed).serve())
