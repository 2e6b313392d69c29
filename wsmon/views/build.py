"""The whole picture at a moment."""

from wsmon.model.cluster import Asked, ClusterModel
from wsmon.model.inputs import StepSeen
from wsmon.model.reading import bounded
from wsmon.model.standing import Voices, voices
from wsmon.views.beliefs import beliefs
from wsmon.views.channels import redis_picture
from wsmon.views.deeds import ledger_rows
from wsmon.views.detail import cluster_detail, node_detail
from wsmon.views.detail_frame import NodeDetail
from wsmon.views.events import event_rows
from wsmon.views.forecast import forecast
from wsmon.views.frame import ActionRow, Frame, Looking, NodeRow, PageName, StartStep
from wsmon.views.header import header
from wsmon.views.incidents import incidents_picture
from wsmon.views.nodes import node_rows
from wsmon.views.services import service_rows
from wsmon.views.sessions import sessions_picture
from wsmon.views.text import clean, name
from wsmon.views.timeline import timeline
from wsmon.views.truth import truth_lanes
from wsmon.views.truth_frame import TruthLanes

STEPS_MAX = 32
CAPTION_MAX = 400
EVERYWHERE = Looking()


def build_frame(model: ClusterModel, now: float, looking: Looking = EVERYWHERE) -> Frame:
    """Return the picture at `now`, in Unix seconds of the watcher's clock. The model is not changed.

    `looking` decides which of the parts that cost something are worked out.
    """
    heard = voices(model, now)
    nodes = node_rows(model, heard)
    services = service_rows(model, heard)
    return Frame(
        header=header(model, heard, nodes=nodes, services=services),
        nodes=nodes,
        services=services,
        timeline=timeline(model, now),
        events=event_rows(model),
        events_lost=model.events_lost(now),
        start=tuple(_step(step) for step in model.steps[:STEPS_MAX]),
        caption=clean(model.caption, CAPTION_MAX),
        forecast=forecast(model, heard),
        ended="" if model.ended is None else clean(model.ended.reason) or "the cluster ended",
        actions=tuple(_action(asked) for asked in model.actions),
        ledger=ledger_rows(model),
        detail=_detail(model, heard, looking),
        beliefs=beliefs(model, now) if looking.page in (PageName.NODES, PageName.REDIS) else None,
        sessions=sessions_picture(model, now, looking.client) if looking.page is PageName.SESSIONS else None,
        redis=redis_picture(model, now) if looking.page is PageName.REDIS else None,
        incidents=incidents_picture(model, now, looking) if looking.page is PageName.INCIDENTS else None,
        truth=_truth(model, now, looking, nodes),
    )


def _detail(model: ClusterModel, heard: Voices, looking: Looking) -> NodeDetail | None:
    match looking.page:
        case PageName.NODES if looking.node is not None:
            return node_detail(model, looking.node, heard)
        case PageName.TIMELINE:
            return cluster_detail(model, heard.now)
        case _:
            return None


def _truth(model: ClusterModel, now: float, looking: Looking, nodes: tuple[NodeRow, ...]) -> TruthLanes | None:
    if looking.page not in (PageName.NODES, PageName.TIMELINE):
        return None
    return truth_lanes(model, now, nodes, selected=looking.node)


def _step(step: StepSeen) -> StartStep:
    seconds = None if step.seconds is None else bounded(step.seconds)
    return StartStep(name=name(step.name), done=step.done, detail=clean(step.detail, 80), seconds=seconds)


def _action(asked: Asked) -> ActionRow:
    answer = asked.answer
    return ActionRow(
        key=asked.key,
        at=asked.at,
        text=clean(asked.text),
        done=answer is not None,
        ok=answer is not None and answer.ok,
        message="" if answer is None else clean(answer.message),
    )
