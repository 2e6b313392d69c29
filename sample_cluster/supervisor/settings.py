"""What a whole cluster is asked for."""

from dataclasses import dataclass

from sample_cluster.config import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What `sample-cluster up` was asked for."""

    cluster: str
    nodes: int
    clients: int
    rate: float
    """Messages per second, published by all clients together."""
    profile: Profile
    port: int
    """Of the gateway; 0 takes any free one."""
    redis: str | None = None
    """URL of a running Redis; None starts one."""
    redis_port: int | None = None
    until_eof: bool = False
    seed: int | None = None
