"""Zones and masks of one camera, drawn on what it sees now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.config.edit import Value, save
from edge.config.schema import HERE, MAX_NAME, ZONE_NAME, corners, parser_words, polygons
from edge.detect.zones import Polygon, parse_polygon
from edge.errors import ConfigError, OptionError
from edge.page.common import Page, back_to, page_of, render
from edge.page.guard import Refused
from edge.page.settings import (
    NO_CONFIG,
    Key,
    Written,
    adopt,
    camera_names,
    lined,
    owner_only,
    state_of,
    written,
)
from edge.record.clip import at_most, jpeg

if TYPE_CHECKING:
    from edge.camera_thread import CameraThread

LEAST_PX = 45  # a shorter bear is not seen
MORE = {1: "one more corner", 2: "two more corners"}
WIDTH, QUALITY = 1280, 80  # of the picture


@dataclass
class Area:
    """A zone or a mask; ``corners`` as they are written or typed, ``polygon`` where they are one."""

    kind: Literal["zone", "mask"]
    name: str  # of a zone
    corners: str
    polygon: Polygon | None = None
    problem: str = ""

    @property
    def words(self) -> str:
        """Return where it lies, for who cannot see it."""
        if not self.polygon:
            return "not on the picture yet"
        (left, right), (top, bottom) = ((min(side), max(side)) for side in zip(*self.polygon, strict=True))
        return (
            f"{len(self.polygon)} corners; {100 * left:.0f} to {100 * right:.0f} % from the left, "
            f"{100 * top:.0f} to {100 * bottom:.0f} % from the top"
        )


def areas_of(config: Written, camera: str) -> list[Area]:
    """Return the zones and masks of a camera as they are written."""
    zones, masks = config.value(("cameras", camera, "zones")), config.value(("cameras", camera, "motion", "mask"))
    found = [_area("zone", name, value) for name, value in zones.items()] if isinstance(zones, dict) else []
    try:
        return found + [Area("mask", "", words_of(each), each) for each in polygons(masks, Path())]
    except ValueError as error:
        return [*found, Area("mask", "", str(masks), problem=parser_words(error))]


def _area(kind: Literal["zone", "mask"], name: str, value: object) -> Area:
    try:
        polygon = corners(value, Path())
    except ValueError as error:
        return Area(kind, name, str(value), problem=parser_words(error))
    return Area(kind, name, words_of(polygon), polygon)


def words_of(polygon: Polygon) -> str:
    """Return corners as a config has them."""
    return " ".join(f"{x:.4g},{y:.4g}" for x, y in polygon)


def typed_areas(form: Mapping[str, str]) -> list[Area]:
    """Return the areas of a form, each with what is wrong with it. Rows that are empty or to be removed are none."""
    found: list[Area] = []
    numbers = sorted(int(name[5:]) for name in form if name.startswith("kind-") and name[5:].isdecimal())
    for number in numbers:
        kind: Literal["zone", "mask"] = "mask" if form[f"kind-{number}"] == "mask" else "zone"
        name, words = (form.get(f"{each}-{number}", "").strip() for each in ("name", "corners"))
        if f"remove-{number}" in form or not (name or words):
            continue
        area = Area(kind, name if kind == "zone" else "", words)
        try:
            area.polygon = parse_polygon(words, HERE)
        except OptionError as error:
            missing = 3 - len(words.split())
            area.problem = parser_words(error) if missing not in {1, 2} else f"tap {MORE[missing]}"
        if kind == "zone":
            if not ZONE_NAME.fullmatch(name) or len(name) > MAX_NAME:
                area.problem = f"{name!r} is no name for a zone; a letter first, then letters, digits, - and _"
            elif name in {each.name for each in found}:
                area.problem = f"two zones are called {name}; give each a name of its own"
        found.append(area)
    return found


def changes_of(camera: str, before: Sequence[Area], after: Sequence[Area]) -> dict[Key, Value | None]:
    """Return the settings of a camera that make the areas ``after`` of those before."""
    at: Key = ("cameras", camera)
    zones, masks = (
        [{each.name or str(n): each for n, each in enumerate(areas) if each.kind == kind} for areas in (before, after)]
        for kind in ("zone", "mask")
    )
    found: dict[Key, Value | None] = {(*at, "zones", name): None for name in zones[0].keys() - zones[1].keys()}
    for name, area in zones[1].items():
        if name not in zones[0] or not _same(zones[0][name], area):
            found[*at, "zones", name] = area.corners
    old, new = (list(each.values()) for each in masks)
    if len(old) != len(new) or not all(map(_same, old, new)):
        found[*at, "motion", "mask"] = [each.corners for each in new] or None
    return found


def _same(one: Area, other: Area) -> bool:
    """Return True for the same polygon, but for what rounding made of it."""
    if not (one.polygon and other.polygon) or len(one.polygon) != len(other.polygon):
        return False
    return all(math.dist(a, b) < 1e-4 for a, b in zip(one.polygon, other.polygon, strict=True))


def thread_of(page: Page, camera: str) -> CameraThread | None:
    """Return the thread that watches a camera; None where it is not watched."""
    return next((thread for thread in page.alarm().threads if thread.camera.name == camera), None)


def zones(request: Request) -> Response:
    """Show the zones and masks of a camera (the owner); save them, and have the alarm use them."""
    owner_only(request)
    page, form, camera = page_of(request), request.state.form, request.path_params["camera"]
    if page.config is None:
        raise Refused(HTTPStatus.NOT_FOUND, NO_CONFIG)
    config, thread = written(page), thread_of(page, camera)
    if camera not in camera_names(page, config):
        raise Refused(HTTPStatus.NOT_FOUND, "there is no camera of this name")
    locked = config.locked
    if not locked and camera not in config.cameras:
        locked = "this camera is not in the config, so its zones cannot be changed here"
    before = areas_of(config, camera)
    areas, problems, now, status = before, list[str](), list[Area](), HTTPStatus.OK
    if request.method == "POST":
        areas = typed_areas(form)
        try:
            if locked:
                raise OptionError(locked)
            if any(area.problem for area in areas):
                raise ConfigError(page.config, [])
            wrote = save(page.config, changes_of(camera, before, areas), form.get("version", ""))
        except ConfigError as error:
            problems, status = [lined(each) for each in error.problems], HTTPStatus.BAD_REQUEST
        except OptionError as error:
            problems, now, status = [str(error)], before, HTTPStatus.CONFLICT
        else:
            return back_to(f"{request.url.path}{adopt(page, wrote)}")
    seen = thread.watcher.seen if thread else None
    return render(
        request,
        "zones.html",
        status,
        path="/settings",  # where it is found
        camera=camera,
        areas=areas,
        config=config,
        locked=locked,
        problems=problems,
        now=now,
        size_wh=seen[0].size_wh if seen else None,
        least_px=LEAST_PX,
        notice=state_of(page) if "saved" in request.query_params else None,
    )


def still(request: Request) -> Response:
    """Return what a camera saw last as a JPEG (the owner): also what masks cover, for they are drawn on it."""
    owner_only(request)
    thread = thread_of(page_of(request), request.path_params["camera"])
    seen = thread.watcher.seen if thread else None
    if seen is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no picture of this camera yet")
    return Response(jpeg(at_most(seen[0].image, WIDTH), QUALITY), media_type="image/jpeg")


ROUTES = [
    Route("/zones/{camera}", zones, methods=["GET", "POST"]),
    Route("/zones/{camera}/still.jpg", still),
]
