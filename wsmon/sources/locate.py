"""Finds the cluster that a person means: by descriptor, by name, by Redis URL, or the one that runs here."""

import contextlib
from pathlib import Path
from typing import Any

from wsmon.agent.redis_url import is_redis_url
from wsmon.agent.runtime_dir import (
    DESCRIPTOR_NAME,
    check_private,
    process_is_alive,
    read_descriptor,
    runtime_dir,
    runtime_root,
)
from wsmon.errors import ConfigError, ProtocolError, UnreachableError, UsageError
from wsmon.protocol.descriptor import Descriptor
from wsmon.protocol.names import check_cluster_name

CALL_TIMEOUT_S = 2.0


async def locate(target: str | None) -> Descriptor:
    """Return where the cluster is that `target` names; without one, the cluster that runs on this machine.

    `target` is the path of a descriptor, the name of a cluster on this machine, or a Redis URL.

    Raises:
        UnreachableError: there is no such cluster, or it is gone; a stale descriptor is removed.
        UsageError: several fit, or the target is none of the above.
        ConfigError: the file is not a descriptor.
        EnvironmentUnsafeError: the runtime directory is open to others.

    """
    if target is None:
        return _the_running_one()
    if is_redis_url(target):
        return await _by_redis(target)
    path = Path(target).expanduser()
    if path.suffix == ".json" or "/" in target:
        return _by_file(path)
    return _by_name(target)


def _the_running_one() -> Descriptor:
    root = runtime_root()
    running = []
    if root.is_dir():
        check_private(root)
        for path in sorted(root.glob(f"*/{DESCRIPTOR_NAME}")):
            with contextlib.suppress(UnreachableError, ConfigError):
                running.append(_by_file(path))
    if not running:
        raise UnreachableError("no cluster runs on this machine", hint="start one with `wsmon`, or name a target")
    if len(running) > 1:
        names = ", ".join(descriptor.cluster for descriptor in running)
        raise UsageError(f"several clusters run on this machine: {names}", hint="name one of them as the target")
    return running[0]


def _by_name(name: str) -> Descriptor:
    try:
        directory = runtime_dir(check_cluster_name(name))
    except UsageError:
        raise UsageError(
            f"target {name!r} is not allowed", hint="a descriptor's path, a cluster's name or a Redis URL"
        ) from None
    if not (directory / DESCRIPTOR_NAME).exists():
        raise UnreachableError(f"no cluster {name!r} runs on this machine", hint="`wsmon` starts one")
    check_private(directory)
    return _by_file(directory / DESCRIPTOR_NAME)


def _by_file(path: Path) -> Descriptor:
    try:
        descriptor = read_descriptor(path)
    except ProtocolError as error:
        raise ConfigError(f"{path} is not a descriptor: {error.message}") from error
    if descriptor is None:
        raise UnreachableError(f"there is no descriptor {path}")
    if descriptor.pid is not None and not process_is_alive(descriptor.pid):
        # Written by a supervisor that could not clean up. Only what lies in our own directory is ours to remove.
        if runtime_root() in path.parents:
            path.unlink(missing_ok=True)
        raise UnreachableError(f"cluster {descriptor.cluster!r} is gone (its supervisor {descriptor.pid} ended)")
    return descriptor


async def _by_redis(url: str) -> Descriptor:
    from wsmon.agent.redis_client import REDIS_ERRORS, open_redis  # noqa: PLC0415  # Half a second of CPU: redis-py.

    try:
        client: Any = open_redis(url, timeout_s=CALL_TIMEOUT_S, connect_timeout_s=CALL_TIMEOUT_S)
    except ValueError as error:
        raise UsageError(f"Redis URL: {error}") from None
    try:
        names = set()
        async for key in client.scan_iter(match="wsc:{*}:nodes", count=1_000):
            names.add(key[len("wsc:{") : -len("}:nodes")])
    except REDIS_ERRORS as error:
        raise UnreachableError(f"Redis does not answer: {error}") from None
    finally:
        await client.aclose()
    if not names:
        raise UnreachableError("no cluster is registered in this Redis")
    if len(names) > 1:
        raise UsageError(f"several clusters are registered in this Redis: {', '.join(sorted(names))}")
    return Descriptor(cluster=names.pop(), redis=url)
