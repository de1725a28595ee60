"""Stages: each camera's, its way to the next, and the owner's choice."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.decide.stages import MAX_MISSED, MEANS, STAGES
from edge.errors import OptionError
from edge.page.common import back_to, page_of, render
from edge.page.guard import Refused
from edge.record.recorder import NEGATIVES_PER_DAY

if TYPE_CHECKING:
    from edge.rollout import Rollout, Standing
    from edge.schema import Stage

PLACE = "/stages"
SHOWN = 30  # beginnings of stages, of each camera


def show(request: Request) -> Response:
    """Show the stage of each camera."""
    alarm = page_of(request).alarm()
    rollout = alarm.rollout
    assert rollout  # a page is only served where there is a journal
    chosen = request.query_params.get("done")
    return render(
        request,
        "stages.html",
        cameras=[_camera(rollout, thread.camera.name) for thread in alarm.threads],
        problem=rollout.problem(),
        rules=alarm.settings.stages,
        kept=alarm.writer is not None,
        frames=f"{alarm.writer.negatives_per_day if alarm.writer else NEGATIVES_PER_DAY:g}",
        means=MEANS,
        max_missed=MAX_MISSED,
        chosen=rollout.standing(chosen) if chosen in rollout.cameras else None,
    )


def choose(request: Request) -> Response:
    """Move a camera to the stage that the owner chose."""
    rollout, form = page_of(request).alarm().rollout, request.state.form
    assert rollout
    camera = form.get("camera", "")
    try:
        rollout.choose(camera, form.get("stage", ""), request.state.access.name)
    except OptionError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
    return back_to(f"{PLACE}?{urlencode({'done': camera})}")


def _camera(rollout: Rollout, name: str) -> dict[str, Any]:
    """Return one camera for the page; ``now`` is None where it has no stages."""
    if name not in rollout.cameras:
        return {"name": name, "now": None}
    now = rollout.standing(name)
    tally = now.tally
    return {
        "name": name,
        "now": now,
        "history": rollout.history(name)[: -SHOWN - 1 : -1],
        "done": tally.right + tally.wrong + tally.frames,
        "known": tally.right + tally.missed + tally.reported,
        "others": [(stage, _warning(now, stage)) for stage in STAGES if stage != now.entry.stage],
    }


def _warning(now: Standing, stage: Stage) -> str:
    """Return the reason not to choose a stage; empty where there is none."""
    if stage == "shadow":
        return "then nobody hears of a bear at this camera"
    if STAGES.index(stage) < STAGES.index(now.entry.stage):
        return ""
    if stage != now.progress.next:
        return "it has not earned this: supervised comes first"
    return "it has not earned this yet"


ROUTES = [Route(PLACE, show, methods=["GET"]), Route(PLACE, choose, methods=["POST"])]
