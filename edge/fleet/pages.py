"""The fleet's page: its devices, their events with pictures, and a map for its owner."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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

from edge.alert.events import TROUBLE_WORDS
from edge.fleet.map import DOT, HEIGHT, WIDTH, draw, place
from edge.local_time import lasting
from edge.page import access
from edge.page.app import guarded
from edge.page.common import AnyPage, back_to, render
from edge.page.events import KINDS, ROW, SHOWN, sent_file, sent_thumbnail, there
from edge.page.guard import Refused
from edge.page.serving import page_server

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edge.fleet.devices import Device
    from edge.fleet.fleet import Fleet
    from edge.fleet.store import FleetStore, Happening
    from edge.page.accounts import Access, Accounts
    from edge.page.server import WebServer
    from edge.settings import PageSettings
    from edge.status import Ask

MENU = ("/", "Devices"), ("/events", "Events")
DEVICES = 200  # on one page
NAMED = 3  # devices that the first sentence names
OFFERED = 1000  # names that the filter offers
NEWEST = 10  # events on a device's own page
STATES = {"silent": "silent", "offline": "offline", "ill": "not well", "well": "well"}  # the worst first
SHAPES = {  # on the map: a diamond, a square, a triangle, a circle
    "silent": "M0-10 10 0 0 10-10 0Z",
    "offline": "M-7-7H7V7H-7Z",
    "ill": "M0-9 9 7H-9Z",
    "well": "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0Z",
}


@dataclass(kw_only=True)
class FleetPage(AnyPage):
    """The state that the parts of a fleet's page share."""

    fleet: Fleet
    store: FleetStore

    @property
    def frame(self) -> dict[str, Any]:
        """Return values of each template, also for those who are not logged in."""
        return {"claim": self.claim, "fleet": True, "menu": MENU}

    def top(self, access: Access) -> dict[str, Any]:
        """Return the menu; with the map for the owner, where a device is on it."""
        mapped = access.owner and any(each.site for each in self.fleet.devices())
        return {"menu": (*MENU, ("/map", "Map"))} if mapped else {}


def open_page(
    fleet: Fleet, store: FleetStore, folder: Path, settings: PageSettings, claim: Callable[[], str]
) -> tuple[WebServer, Ask]:
    """Serve the page until the server is closed; return it, and what asks for its problem.

    ``folder``: of the fleet's state, for accounts and certificates. ``settings``: ``listen`` is set. ``claim``: the
    command that makes an owner.
    """

    def make(accounts: Accounts, names: list[str]) -> ASGIApp:
        page = FleetPage(accounts=accounts, claim=claim(), fleet=fleet, store=store)
        return guarded(page, ROUTES, names, tls=settings.tls)

    return page_server(settings, folder, make, claim)


def device_list(request: Request) -> Response:
    """Show the devices, those that are not well first."""
    page, now = _page(request), time.time()
    devices = _worst_first(page.fleet.devices())
    wanted = request.query_params.get("q", "").strip()
    found = [each for each in devices if wanted.casefold() in each.name.casefold()]
    number = request.query_params.get("page", "")
    pages = max(1, -(-len(found) // DEVICES))
    at = min(max(int(number), 1), pages) if ROW.fullmatch(number) else 1
    return render(
        request,
        "fleet_devices.html",
        sum=_sum(devices, now),
        problems=_problems(page),
        devices=[_shown(each, now) for each in found[(at - 1) * DEVICES : at * DEVICES]],
        known=len(devices),
        found=len(found),
        wanted=wanted,
        number=at,
        pages=pages,
        links={
            words: f"/?{urlencode({'q': wanted, 'page': to})}"
            for words, to in (("before", at - 1), ("next", at + 1))
            if 1 <= to <= pages
        },
    )


def device_page(request: Request) -> Response:
    """Show one device."""
    page, device = _page(request), _device(request, request.query_params.get("name", ""))
    at = place(device) if request.state.access.owner else None
    newest = page.store.happenings(device=device.name, limit=NEWEST)
    return render(
        request,
        "fleet_device.html",
        device=_shown(device, time.time()),
        at=at,
        site=device.site.name if at and device.site else None,
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
    found = page.store.happenings(
        device=asked["device"] or None, kind=asked["kind"] or None, before=before, limit=SHOWN + 1
    )
    filters = {name: asked[name] for name in ("device", "kind") if asked[name]}
    names = [each.name for each in page.fleet.devices()]
    more = len(found) > SHOWN
    return render(
        request,
        "fleet_events.html",
        events=[_event(each) for each in found[:SHOWN]],
        asked=asked,
        filters=filters,
        kinds=KINDS.items(),
        names=sorted(names) if len(names) <= OFFERED else [],
        newest=_events_place(filters) if before is not None else None,
        older=_events_place(filters | {"before": str(found[SHOWN - 1].id)}) if more else None,
    )


def event_page(request: Request) -> Response:
    """Show one event."""
    happening = _happening(request)
    rows = _page(request).store.rows(happening.device, happening.event_id)
    return render(request, "fleet_event.html", event=_event(happening), rows=[(_clock(row), row) for row in rows])


def picture(request: Request) -> Response:
    """Send the picture of an event."""
    with there():
        return sent_file(request, _picture(request))


def thumbnail(request: Request) -> Response:
    """Send the picture of an event, small."""
    with there():
        return sent_thumbnail(request, _picture(request))


def map_page(request: Request) -> Response:
    """Show where the devices are (the owner)."""
    if not request.state.access.owner:
        raise Refused(HTTPStatus.FORBIDDEN, "only the owner sees where the devices are")
    now = time.time()
    drawn = draw(_worst_first(_page(request).fleet.devices()))
    dots = [(dot, _shown(dot.device, now)) for dot in drawn.dots] if drawn else []
    return render(
        request, "fleet_map.html", map=drawn, dots=dots, states=STATES, shapes=SHAPES, size=(WIDTH, HEIGHT), dot=DOT
    )


def _page(request: Request) -> FleetPage:
    page: FleetPage = request.app.state.page
    return page


def _device(request: Request, name: str) -> Device:
    """Return the device of this name. Raises Refused."""
    found = _page(request).fleet.device(name)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such device in this view (any more)")
    return found


def _happening(request: Request) -> Happening:
    """Return the event that is asked for. Raises Refused."""
    id_ = request.path_params["id"]
    found = _page(request).store.happening(int(id_)) if ROW.fullmatch(id_) else None
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such event here (any more)")
    return found


def _picture(request: Request) -> Path:
    """Return the picture of an event. Raises KeyError where there is none."""
    found = _page(request).store.picture(_happening(request))
    if found is None:
        raise KeyError
    return found


# Words. What a device says is set apart from the words around it, whichever way it is written: <bdi>.


def _worst_first(devices: Sequence[Device]) -> list[Device]:
    order = list(STATES)
    return sorted(devices, key=lambda each: (order.index(each.state), not each.doubts, each.name.casefold(), each.name))


def _sum(devices: Sequence[Device], now: float) -> Markup:
    """Return how the fleet is, in one sentence; ``devices``: the worst first."""
    if not devices:
        return Markup("No device was heard yet.")
    ill = [each for each in devices if each.state != "well"]
    one = len(devices) == 1
    if not ill:
        return Markup("The one device is well." if one else f"All {len(devices)} devices are well.")
    said = [Markup("<bdi>{}</bdi> is {}").format(each.name, _state(each, now)) for each in ill[:NAMED]]
    more = len(ill) - len(said)
    if more:
        said.append(Markup(f"{more} more {'is' if more == 1 else 'are'} not well"))
    well = len(devices) - len(ill)
    count = f"{well} of {len(devices)} {'device is' if one else 'devices are'} well; "
    return Markup(count) + Markup("; ").join(said) + Markup(".")


def _state(device: Device, now: float) -> str:
    words = STATES[device.state]
    if device.state == "silent":
        return f"{words}, last heard {_ago(device.heard_at, now)}" if device.heard_at else f"{words}, never heard"
    return f"{words} since {_when(device.since)}" if device.state == "offline" else words


def _problems(page: FleetPage) -> list[str]:
    """Return what is wrong with the fleet's own parts, and what it wants to have said."""
    return [each for each in (page.fleet.problem(), page.fleet.trouble(), *page.fleet.notices()) if each]


def _shown(device: Device, now: float) -> dict[str, Any]:
    """Return what the pages show of a device: never where it is."""
    return {
        "name": device.name,
        "place": f"/device?{urlencode({'name': device.name})}",
        "events": _events_place({"device": device.name}),
        "state": device.state,
        "words": STATES[device.state],
        "since": _when(device.since),
        "heard": f"last heard {_ago(device.heard_at, now)}" if device.heard_at else "never heard",
        "reason": device.reason,
        "version": device.version,
        "model": device.model,
        "clock_ok": device.clock_ok,
        "doubts": device.doubts,
        "filling": device.filling,
        "there": device.state in {"well", "ill"},
        "cameras": [
            (each, "no new pictures" if not (each.fresh or each.trouble) else each.trouble, _when(each.since))
            for each in device.cameras
        ],
    }


def _event(happening: Happening) -> dict[str, Any]:
    """Return what the list and the event's own page both show."""
    label = (happening.label or "").replace("_", " ")
    name, _, note = (happening.species or label or "bear").partition(" (")
    names = {
        "bear": f"{name[:1].upper()}{name[1:]}",
        "camera": f"Camera: {TROUBLE_WORDS.get(happening.label or '', label)}",
        "notice": f"Notice: {label}",
        "test": "Test",
    }
    over = happening.ended_at is not None
    return {
        "id": happening.id,
        "name": names.get(happening.kind, f"Health: {label}"),
        "device": happening.device,
        "place": f"/device?{urlencode({'name': happening.device})}",
        "camera": happening.camera,
        "when": _when(happening.began_at, seconds=True) + (" ?" if happening.clock_doubtful else ""),
        "doubtful": happening.clock_doubtful,
        "lasted": lasting(max(0.0, happening.ended_at - happening.began_at)) if happening.ended_at is not None else "",
        "open": not over and happening.kind in {"bear", "camera", "health"},
        "score": happening.top_score if happening.kind == "bear" else None,
        "stage": happening.stage,
        "no_noise": happening.kind == "bear" and not happening.alarms and happening.stage != "shadow",
        "detail": note.removesuffix(")") if happening.kind == "bear" else happening.detail,
        "picture": bool(happening.picture),
    }


def _clock(row: Any) -> str:
    """Return the time a device gives, in this machine's zone; as it came where it is none."""
    try:
        return f"{datetime.fromisoformat(row.captured_at).astimezone():%H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(row.captured_at)


def _when(at: float, *, seconds: bool = False) -> str:
    """Return day and time of this machine's zone."""
    return f"{datetime.fromtimestamp(at).astimezone():{'%a %d %b %Y, %H:%M:%S' if seconds else '%a %d %b, %H:%M'}}"


def _ago(at: float, now: float) -> str:
    """Return how long ago it was, in whole minutes, so that a page says the same for a while."""
    minutes = int(max(0.0, now - at) // 60)
    return "less than a minute ago" if minutes < 1 else f"{'1 min' if minutes == 1 else lasting(60.0 * minutes)} ago"


def _events_place(filters: dict[str, str]) -> str:
    return f"/events?{urlencode(filters)}" if filters else "/events"


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
