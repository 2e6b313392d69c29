"""Which names are allowed. It imports hardly anything: names are checked before anything is on the screen."""

import re
from typing import Final

from wsmon.errors import UsageError

_CLUSTER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


def check_cluster_name(name: str) -> str:
    """Return `name` if it can stand in keys, paths and sockets.

    Raises:
        UsageError: it cannot.

    """
    if not _CLUSTER.fullmatch(name):
        raise UsageError(
            f"cluster name {name!r} is not allowed",
            hint="1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        )
    return name
