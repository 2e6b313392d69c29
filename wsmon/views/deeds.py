"""What operators did, as rows."""

from functools import lru_cache

from wsmon.model.cluster import ClusterModel
from wsmon.model.deeds import DEEDS_KEPT
from wsmon.model.ledger import Recorded
from wsmon.protocol.events import ActionDone
from wsmon.views.frame import LedgerRow
from wsmon.views.text import clean, name

REASON_LONGEST = 160


def ledger_rows(model: ClusterModel) -> tuple[LedgerRow, ...]:
    """Return the newest actions at all consoles, newest last. A row is made once."""
    return tuple(_row(recorded) for recorded in model.deeds)


@lru_cache(maxsize=DEEDS_KEPT)
def _row(recorded: Recorded) -> LedgerRow:
    body = recorded.body
    assert isinstance(body, ActionDone)
    user, host = body.actor.get("user"), body.actor.get("host")
    who = name(user) if isinstance(user, str) and user else "somebody"
    where = f"@{name(host)}" if isinstance(host, str) and host else ""
    return LedgerRow(
        at=recorded.at,
        who=f"{who}{where}",
        text=f"{name(body.op)} {name(body.target)}".rstrip(),
        reason=clean(body.reason, REASON_LONGEST),
        ok=body.ok,
    )
