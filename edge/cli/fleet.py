"""``bear-alarm fleet``: many devices in one view, by their MQTT broker, and a word when one falls silent."""

from __future__ import annotations

import logging
import os
import re
import shlex
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.options import alert_settings, only, options_of
from edge.cli.output import JsonOpt, counted, print_json
from edge.cli.watch.signals import Stop, stop_on_signal
from edge.errors import OptionError, UnavailableError
from edge.files import made_state_folder, state_folder
from edge.settings import AlertSettings, PageSettings, parse_listen

if TYPE_CHECKING:
    from edge.fleet.devices import Device
    from edge.fleet.fleet import Fleet
    from edge.schema import Event

log = logging.getLogger(__name__)

PAGE = "127.0.0.1:8471"  # beside the page of an alarm on the same machine
FOLDER = "bear-alarm-fleet"
EXAMPLE = "mqtts://USER:PASSWORD@BROKER/PREFIX"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
TICK_S = 0.5
CLOSE_S = 0.8
LINE_S = 10.0  # between two lines about one device


@options_of(alerts=only(alert_settings, "on_trouble", "text", "notify", "webhook", "webhook_secret"))
def fleet(
    mqtt: Annotated[
        str | None,
        typer.Option(
            envvar="BEAR_ALARM_FLEET",
            show_envvar=True,
            help=f"The devices' broker and what their prefixes begin with: {EXAMPLE}.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            readable=False,  # the own sentence says more
            help=f"Folder for what the devices said (default: {FOLDER} beside the alarm's own folder).",
        ),
    ] = None,
    page: Annotated[
        str,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            help="Where to show the devices in a browser; a port alone is for this machine only.",
        ),
    ] = PAGE,
    silent_after: Annotated[
        str,
        typer.Option(metavar="TIME", help="A device of which nothing is heard for so long is silent: 90s, 10m, 2h."),
    ] = "10m",
    list_: Annotated[
        bool,
        typer.Option("--list", help="Print the devices and exit; also while the fleet runs, and without a broker."),
    ] = False,
    as_json: JsonOpt = False,
    *,
    alerts: Callable[..., AlertSettings],
) -> None:
    """See many devices in one view, and hear when one falls silent. It runs until Ctrl-C.

    The devices send to an MQTT broker, each with a prefix of its own: bears/north, bears/south. This reads there what
    all of them say, keeps it, and shows it on a page. Bears are reported by the devices themselves. docs/fleet.md has
    the whole way, from the broker on.
    """
    from edge.alert.mqtt_settings import settings_from_url

    folder = state_folder(state) if state else state_folder().with_name(FOLDER)
    if list_:
        _show(folder, as_json=as_json)
        return
    if as_json:
        raise OptionError("--json belongs to --list; give --list too")
    if not mqtt:
        raise OptionError(f"no broker is named; give --mqtt {EXAMPLE}, or set BEAR_ALARM_FLEET to it")
    broker, after_s, settings = settings_from_url(mqtt), _seconds(silent_after), alerts()
    try:
        broker.tls_context()
    except UnavailableError as error:  # the file of its CA
        raise OptionError(str(error)) from None
    where = PageSettings(listen=page)
    claim = shlex.join(["bear-alarm", "page", "claim", "--state", str(folder), "--page", page])
    _try_to_listen(page)
    with stop_on_signal() as stop, ExitStack() as stack:
        from edge.fleet.alarms import FleetAlarms
        from edge.fleet.fleet import Fleet
        from edge.fleet.pages import open_page

        view = Fleet(broker, made_state_folder(folder), silent_after_s=after_s)
        alarms = FleetAlarms(view, settings, folder, terminal=_told)
        stack.callback(alarms.close, CLOSE_S)
        view.start()
        stack.callback(view.close)
        server, alarms.parts["page"] = open_page(view, where, claim)
        stack.enter_context(closing(server))
        log.info("%s: listening to %s/+ at %s.", folder, broker.prefix, broker.where)
        _follow(view, alarms.tick, stop)


def _follow(view: Fleet, tick: Callable[[], None], stop: Stop) -> None:
    """Print each change of a device's state, and each notice, until a signal comes."""
    known = view.states()
    printed_at: dict[str, float] = {}
    if known:
        from edge.fleet.devices import STATES

        numbers = ", ".join(f"{number} {STATES[state]}" for state, number in Counter(known.values()).most_common())
        log.info("%s: %s.", counted(len(known), "device"), numbers)
    said: set[str] = set()
    while not stop.wait(TICK_S):
        tick()
        states, now = view.states(), time.monotonic()
        for name, state in states.items():
            if known.get(name) != state and now >= printed_at.get(name, 0.0) + LINE_S and (each := view.device(name)):
                known[name], printed_at[name] = each.state, now
                log.log(logging.INFO if each.state == "well" else logging.WARNING, "%s", _line(each))
        for name in known.keys() - states.keys():
            del known[name]
            log.info("%s  %s: removed from the view", _clock(), name)
        words = {*view.notices(), *(f"disk: {each}" for each in [view.trouble()] if each)}
        for sentence in sorted(words - said):
            log.warning("%s  %s", _clock(), sentence)
        said = words


def _line(device: Device) -> str:
    from edge.fleet.alarms import silence_of
    from edge.fleet.devices import STATES

    if device.state in {"silent", "offline"}:
        return f"{_clock()}  {silence_of(device)}"
    return f"{_clock()}  Device {device.name} is {STATES[device.state]}{f': {device.reason}' if device.reason else ''}"


def _told(event: Event) -> None:
    """Print what is wrong with the channels and the page; the rest has its line already."""
    from edge.fleet.alarms import DEVICE

    label = event.label or ""
    if label not in {"broker", "disk", "devices"} and not label.startswith(DEVICE):
        log.log(logging.WARNING if event.type == "new" else logging.INFO, "%s  %s", _clock(), event.detail)


def _clock() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"


def _seconds(word: str) -> float:
    """Return the seconds of ``10m``. Raises OptionError."""
    parts = re.fullmatch(r"\s*(\d{1,5})\s*([smhd])\s*", word.lower())
    if not parts or not (seconds := int(parts[1]) * UNITS[parts[2]]):
        raise OptionError(f"--silent-after {word!r}: give a time such as 90s, 10m or 2h")
    return seconds


def _try_to_listen(page: str) -> None:
    """Raise OptionError where the page cannot be opened there."""
    address, port = parse_listen(page)
    if not port:
        raise OptionError(f"--page {page}: port 0 would be another one at each start; name a port, such as {PAGE}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as tried:
            if os.name == "posix":  # else a port that was just left counts as taken
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address, port))
    except OSError as error:
        raise OptionError(
            f"--page {page}: the page cannot be opened there ({error.strerror}); stop what uses it, or name another"
        ) from None


def _show(folder: Path, *, as_json: bool) -> None:
    """Print the devices that the fleet in ``folder`` knows. Raises OptionError where its disk cannot be read."""
    from edge.fleet.alarms import ago
    from edge.fleet.store import FleetStore
    from edge.record.database import DiskError
    from edge.record.run import watching_run

    store = FleetStore(folder)
    try:
        devices, since = store.devices(), store.no_broker_since()
    except DiskError as error:
        how = "" if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else "; run it with sudo"
        raise OptionError(f"{folder}: the devices cannot be read ({error}){how}") from None
    if since:
        log.warning("The fleet has no broker since %s: the devices may be otherwise now.", ago(since))
    if as_json:
        print_json([_document(each) for each in devices])
        return
    if not devices:
        print(f"{folder}: no device is known here yet; name another with --state.")
    for line in _table([("NAME", "STATE", "SINCE", "LAST HEARD", "CAMERAS"), *map(_row, devices)] if devices else []):
        print(line)
    if not watching_run(folder):
        log.info("No fleet runs with the folder %s now: this is what it knew last.", folder)


def _row(device: Device) -> tuple[str, ...]:
    from edge.fleet.alarms import ago
    from edge.fleet.devices import STATES

    cameras = (f"{each.name} ({each.trouble})" if each.trouble else each.name for each in device.cameras)
    heard = ago(device.heard_at) if device.heard_at else "never"
    return device.name, STATES[device.state], ago(device.since), heard, ", ".join(cameras)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _document(device: Device) -> dict[str, Any]:
    document = asdict(device)
    times = {"since": device.since, "heard_at": device.heard_at}
    return document | {name: _time(at) for name, at in times.items()} | {
        "cameras": [asdict(each) | {"since": _time(each.since)} for each in device.cameras]
    }  # fmt: skip


def _time(at: float) -> str | None:
    from edge.schema import utc_text

    return utc_text(datetime.fromtimestamp(at, UTC)) if at else None
