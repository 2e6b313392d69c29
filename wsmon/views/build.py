"""The whole picture at a moment."""

from wsmon.model.cluster import Asked, ClusterModel
from wsmon.model.inputs import StepSeen
from wsmon.model.reading import bounded
from wsmon.model.standing import voices
from wsmon.views.events import event_rows
from wsmon.views.frame import ActionRow, Frame, Looking, StartStep
from wsmon.views.header import header
from wsmon.views.nodes import node_rows
from wsmon.views.services import service_rows
from wsmon.views.text import clean, name
from wsmon.views.timeline import timeline

STEPS_MAX = 32
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
        ended="" if model.ended is None else clean(model.ended.reason) or "the cluster ended",
        actions=tuple(_action(asked) for asked in model.actions),
    )


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
