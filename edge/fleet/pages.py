"""The fleet's page: its devices, their events with pictures, and a map for its owner."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.fleet.alarms import day_and_time, last_heard
from edge.fleet.devices import STATES
from edge.fleet.map import PHONE, draw
from edge.fleet.store import MAX_ROWS, FleetStore
from edge.local_time import lasting
from edge.page import access
from edge.page.app import guarded_app
from edge.page.common import BasePage, back_to, prose, render
from edge.page.events import KINDS, ROW, SHOWN, event_name, events_place, refused_if_missing, sent_file, sent_thumbnail
from edge.page.guard import Refused
from edge.page.serving import page_server
from edge.record.database import DiskError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edge.fleet.devices import Device
    from edge.fleet.fleet import Fleet
    from edge.fleet.store import FleetEvent
    from edge.page.accounts import Access, Accounts
    from edge.page.server import WebServer
    from edge.settings import PageSettings
    from edge.status import Ask

MENU = ("/", "Devices"), ("/events", "Events")
DEVICES = 200  # on one page
NAMED = 3  # devices that the first sentence names
BEAR_S = 3 * 3600.0  # a bear without an end is there no longer than so
NEWEST = 10  # events on a device's own page
HEARD = {"ill", "well"}
SHAPES = {  # on the map: a diamond, a square, a triangle, a circle
    "silent": "M0-10 10 0 0 10-10 0Z",
    "offline": "M-7-7H7V7H-7Z",
    "ill": "M0-9 9 7H-9Z",
    "well": "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0Z",
}


@dataclass(kw_only=True)
class FleetPage(BasePage):
    """The state that the parts of a fleet's page share."""

    is_fleet = True
    fleet: Fleet
    store: FleetStore

    def for_logged_in(self, access: Access) -> dict[str, Any]:
        """Return the menu; with the map for the owner, where a device is on it."""
        return {"menu": (*MENU, ("/map", "Map")) if access.owner and self.fleet.mapped else MENU}


def open_page(fleet: Fleet, settings: PageSettings, claim: str) -> tuple[WebServer, Ask]:
    """Serve the page until the server is closed; return it, and what asks for its problem.

    Accounts and certificates are in the fleet's folder. ``settings``: ``listen`` is set. ``claim``: the command that
    makes an owner.
    """

    def make(accounts: Accounts, names: list[str]) -> ASGIApp:
        page = FleetPage(accounts=accounts, fleet=fleet, store=FleetStore(fleet.folder))
        return guarded_app(page, ROUTES, names, tls=settings.tls)

    return page_server(settings, fleet.folder, make, claim)


def device_list(request: Request) -> Response:
    """Show the devices, those that are not well first."""
    page = _page(request)
    devices = _worst_first(page.fleet.devices())
    wanted = request.query_params.get("q", "").strip()
    found = [each for each in devices if wanted.casefold() in each.name.casefold()]
    number = request.query_params.get("page", "")
    problems = _problems(page)
    try:
        bears = page.store.bears_now(time.time() - BEAR_S)
    except DiskError as error:
        bears, problems = [], [str(error), *problems]
    heard = {each.name for each in devices if each.state in HEARD}
    pages = max(1, -(-len(found) // DEVICES))
    at = min(max(int(number), 1), pages) if ROW.fullmatch(number) else 1
    return render(
        request,
        "fleet_devices.html",
        summary=_summary(devices),
        bears=[_event(each) for each in bears if each.device in heard],
        problems=problems,
        devices=[_shown(each) for each in found[(at - 1) * DEVICES : at * DEVICES]],
        known=len(devices),
        found=len(found),
        wanted=wanted,
        number=at,
        pages=pages,
        links={
            words: f"/?{urlencode({'q': wanted, 'page': to})}"
            for words, to in (("previous", at - 1), ("next", at + 1))
            if 1 <= to <= pages
        },
    )


def device_page(request: Request) -> Response:
    """Show one device."""
    page, device = _page(request), _device(request, request.query_params.get("name", ""))
    newest = page.store.incidents(device=device.name, limit=NEWEST)
    return render(
        request,
        "fleet_device.html",
        device=_shown(device),
        site=device.site if request.state.access.owner else None,
        events=[_event(each) for each in newest],
    )


def forget(request: Request) -> Response:
    """Remove a device from the view."""
    page, device = _page(request), _device(request, request.state.form.get("name", ""))
    page.fleet.forget(device.name)
    return back_to("/")


def event_list(request: Request) -> Response:
    """Show the events that are asked for, the newest first."""
    page = _page(request)
    asked = {name: request.query_params.get(name, "") for name in ("device", "kind", "before")}
    if asked["kind"] not in ("", *KINDS):
        raise Refused(HTTPStatus.BAD_REQUEST, f"kind {asked['kind']!r} is not known; choose one of the list")
    before = int(asked["before"]) if ROW.fullmatch(asked["before"]) else None
    found = page.store.incidents(
        device=asked["device"] or None, kind=asked["kind"] or None, before=before, limit=SHOWN + 1
    )
    filters = {name: asked[name] for name in ("device", "kind") if asked[name]}
    more = len(found) > SHOWN
    return render(
        request,
        "fleet_events.html",
        events=[_event(each) for each in found[:SHOWN]],
        asked=asked,
        filters=filters,
        kinds=(KINDS | {"health": "A device's own troubles"}).items(),
        newest=events_place(filters) if before is not None else None,
        older=events_place(filters | {"before": str(found[SHOWN - 1].id)}) if more else None,
    )


def event_page(request: Request) -> Response:
    """Show one event."""
    incident = _incident(request)
    rows = _page(request).store.rows(incident.device, incident.event_id)
    lines = [(_clock(row), row) for row in rows[: MAX_ROWS - 1]]
    return render(request, "fleet_event.html", event=_event(incident), rows=lines, more=len(rows) == MAX_ROWS)


def picture(request: Request) -> Response:
    """Send the picture of an event."""
    with refused_if_missing():
        return sent_file(request, _picture(request))


def thumbnail(request: Request) -> Response:
    """Send the picture of an event, small."""
    with refused_if_missing():
        return sent_thumbnail(request, _picture(request))


def map_page(request: Request) -> Response:
    """Show where the devices are (the owner)."""
    if not request.state.access.owner:
        raise Refused(HTTPStatus.FORBIDDEN, "only the owner sees where the devices are")
    devices = _worst_first(_page(request).fleet.devices())
    drawn = draw(devices)
    return render(
        request,
        "fleet_map.html",
        map=drawn,
        phone=draw(devices, *PHONE),
        shown={each.name: _shown(each) for each in devices if each.site},
        far=[(_shown(device), f"{km:,.0f}") for device, km in drawn.far] if drawn else [],
        states=STATES,
        shapes=SHAPES,
    )


def _page(request: Request) -> FleetPage:
    page: FleetPage = request.state.page
    return page


def _device(request: Request, name: str) -> Device:
    """Return the device of this name. Raises Refused."""
    found = _page(request).fleet.device(name)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such device in this view (any more)")
    return found


def _incident(request: Request) -> FleetEvent:
    """Return the event that is asked for. Raises Refused."""
    id_ = request.path_params["id"]
    found = _page(request).store.incident(int(id_)) if ROW.fullmatch(id_) else None
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such event here (any more)")
    return found


def _picture(request: Request) -> Path:
    """Return the picture of an event. Raises KeyError where there is none."""
    found = _page(request).store.picture(_incident(request))
    if found is None:
        raise KeyError
    return found


# Words. What a device says is set apart from the words around it, whichever way it is written: <bdi>.


def _worst_first(devices: Sequence[Device]) -> list[Device]:
    order = list(STATES)
    return sorted(devices, key=lambda each: (order.index(each.state), not each.doubts, each.name.casefold(), each.name))


def _summary(devices: Sequence[Device]) -> Markup:
    """Return how the fleet is, in one sentence; ``devices``: the worst first."""
    if not devices:
        return Markup("No device was heard yet.")
    ill = [each for each in devices if each.state != "well"]
    one = len(devices) == 1
    if not ill:
        return Markup("The one device is well." if one else f"All {len(devices)} devices are well.")
    said = [Markup("<bdi>{}</bdi> is {}").format(each.name, _state(each)) for each in ill[:NAMED]]
    more = len(ill) - len(said)
    if more:
        said.append(Markup(f"{more} more {'is' if more == 1 else 'are'} not well"))
    well = len(devices) - len(ill)
    count = f"{well} of {len(devices)} {'device is' if one else 'devices are'} well; "
    return Markup(count) + Markup("; ").join(said) + Markup(".")


def _state(device: Device) -> str:
    words = STATES[device.state]
    return words if device.state == "ill" else f"{words}, {last_heard(device)}"


def _problems(page: FleetPage) -> list[str]:
    """Return what is wrong with the fleet's own parts, and what it wants to have said."""
    return [each for each in (page.fleet.problem(), page.fleet.trouble(), *page.fleet.notices()) if each]


def _shown(device: Device) -> dict[str, Any]:
    """Return what the pages show of a device: never where it is."""
    return {
        "name": device.name,
        "place": f"/device?{urlencode({'name': device.name})}",
        "events": events_place({"device": device.name}),
        "state": device.state,
        "words": STATES[device.state],
        "since": day_and_time(device.since),
        "heard": last_heard(device),
        "reason": device.reason,
        "version": device.version,
        "model": device.model,
        "clock_ok": device.clock_ok,
        "doubts": [prose(each) for each in device.doubts],
        "filling": device.filling,
        "there": device.state in HEARD,
        "cameras": [
            (each, "no new pictures" if not (each.fresh or each.trouble) else each.trouble, day_and_time(each.since))
            for each in device.cameras
        ],
    }


def _event(incident: FleetEvent) -> dict[str, Any]:
    """Return what the list and the event's own page both show."""
    label = incident.label or ""
    animal, _, note = (incident.species or label.replace("_", " ") or "bear").partition(" (")
    began, over = datetime.fromtimestamp(incident.began_at).astimezone(), incident.ended_at is not None
    return {
        "id": incident.id,
        "name": event_name(incident.kind, label, animal),
        "device": incident.device,
        "place": f"/device?{urlencode({'name': incident.device})}",
        "camera": incident.camera,
        "when": f"{began:%a %d %b %Y, %H:%M:%S}" + (" ?" if incident.clock_doubtful else ""),
        "since": f"{began:%H:%M}",
        "doubtful": incident.clock_doubtful,
        "lasted": lasting(max(0.0, incident.ended_at - incident.began_at)) if incident.ended_at is not None else "",
        "open": not over and incident.kind in {"bear", "camera", "health"},
        "score": incident.top_score if incident.kind == "bear" else None,
        "stage": incident.stage,
        "no_noise": incident.kind == "bear" and not incident.alarms and incident.stage != "shadow",
        "detail": note.removesuffix(")") if incident.kind == "bear" else incident.detail,
        "picture": bool(incident.picture),
    }


def _clock(row: Any) -> str:
    """Return the time a device gives, in this machine's zone; as it came where it is none."""
    try:
        return f"{datetime.fromisoformat(row.captured_at).astimezone():%H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(row.captured_at)


ROUTES = [
    *access.ROUTES,
    Route("/", device_list),
    Route("/device", device_page),
    Route("/forget", forget, methods=["POST"]),
    Route("/events", event_list),
    Route("/events/{id}", event_page),
    Route("/picture/{id}.jpg", picture),
    Route("/thumb/{id}.jpg", thumbnail),
    Route("/map", map_page),
]
