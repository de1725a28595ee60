"""Settings: what people change in fields, the whole config as text, and whether the alarm uses it yet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge.alert.redact import address_of
from edge.alert.sound import NAMES
from edge.config.edit import SHORT, read_only, save, text_of, version_of
from edge.config.load import load
from edge.config.schema import OFF, ON, about, pattern
from edge.config.yaml_tree import key_text, parse
from edge.errors import ConfigError, OptionError
from edge.page.common import Page, back_to, page_of, render
from edge.page.guard import Refused
from edge.update.sources import shown

if TYPE_CHECKING:
    from pathlib import Path

    from edge.errors import ConfigProblem
    from edge.settings import Settings

Kind = Literal["switch", "words", "sounds"]
Key = tuple[str, ...]

NO_CONFIG = (
    "the alarm runs without a config, so nothing can be changed here; `bear-alarm config init` writes one, and "
    "`bear-alarm watch` in the same folder uses it"
)
SAVED = "settings"  # in what the page keeps: the settings in use at the last change, and how its reading went

LOOKING = ("fps", "threshold", "night_threshold", "alarm_at", "schedule")
LABELS: dict[Key, str] = {
    ("enabled",): "Watched",
    ("fps",): "Frames a second",
    ("threshold",): "Bear probability that counts",
    ("night_threshold",): "The same in the dark",
    ("alarm_at",): "Evidence for an alarm",
    ("schedule",): "When it may alarm",
    ("sound", "play"): "Sounds",
    ("sound", "seconds"): "Seconds of sound",
    ("deterrent", "hours"): "When the deterrent may be loud",
    ("record", "quota_mb"): "Room for pictures and clips (MB)",
    ("record", "negatives_per_day"): "Pictures without a bear a day",
    ("record", "full_frame"): "Keep whole pictures too",
    ("health", "low_disk_mb"): "Report less free room than (MB)",
    ("health", "hot_c"): "Report more heat than (°C)",
}
FEWER = "Higher: fewer false alarms, and more bears missed."
HINTS: dict[Key, str] = {  # instead of the schema's, which repeat the label
    ("fps",): "",
    ("threshold",): FEWER,
    ("night_threshold",): f"In the dark and in infrared. {FEWER}",
    ("alarm_at",): f"{FEWER} `bear-alarm tune` advises a value.",
    (
        "schedule",
    ): "In local time, such as 'daily 20:00-06:00'. Outside it bears are recorded, and only machines get them "
    "(MQTT, webhook, events).",
    ("sound", "seconds"): "From an alarm on.",
    ("deterrent", "hours"): "In local time, such as 'daily 20:00-06:00'.",
    ("record", "quota_mb"): "The oldest goes first, what is locked stays.",
    ("record", "negatives_per_day"): "Chosen at random.",
    ("record", "full_frame"): "Of each alarm, with nothing drawn on it.",
    ("health", "low_disk_mb"): "On the state folder's disk.",
}
SECTIONS: dict[str, list[Key]] = {
    "All cameras": [("detect", name) for name in LOOKING],
    "Noise": [("sound", "play"), ("sound", "seconds"), ("deterrent", "hours")],
    "Pictures that are kept": [("record", name) for name in ("quota_mb", "negatives_per_day", "full_frame")],
    "The device": [("health", name) for name in ("low_disk_mb", "hot_c")],
}


@dataclass(frozen=True)
class Written:
    """The config as it is on the disk. ``locked``: why it cannot be changed in fields, None where it can."""

    data: dict[str, Any]
    text: str = ""
    locked: str | None = None

    @property
    def version(self) -> str:
        """Return what must still be there when a change is saved."""
        return version_of(self.text)

    @property
    def cameras(self) -> dict[str, Any]:
        """Return the cameras as they are written."""
        found = self.data.get("cameras")
        return found if isinstance(found, dict) else {}

    def value(self, key: Key) -> Any:
        """Return a setting as it is written, also where its section is one value; None where it is not there."""
        found: Any = self.data
        for depth, name in enumerate(key):
            if found is not None and not isinstance(found, dict):
                found = {SHORT.get(pattern(key[:depth]), ""): found}
            found = (found or {}).get(name)
        return found


@dataclass
class Entry:
    """One setting as a form shows it; ``value`` is text, of sounds the list of those that are on."""

    key: Key
    label: str
    kind: Kind
    hint: str
    usual: str  # its value where none is given
    value: Any
    low: float | None = None
    high: float | None = None
    choices: Sequence[str] = ()
    stale: bool = False  # the file was changed since the form was loaded
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.was = words_of(self.value)  # in the file, also where another value is typed

    @property
    def name(self) -> str:
        """Return its name in the form."""
        return "/".join(self.key)


def written(page: Page) -> Written:
    """Return the config as it is on the disk now."""
    if page.config is None:
        return Written({}, locked=NO_CONFIG)
    try:
        text = text_of(page.config)
    except ConfigError as error:
        return Written({}, locked=str(error))
    document = parse(text)
    locked = read_only(page.config)
    if document.problems or not isinstance(document.data, dict | None):
        return Written({}, text, locked or "the config is no YAML that can be read; correct it in its text")
    return Written(document.data or {}, text, locked)


def camera_names(page: Page, config: Written) -> list[str]:
    """Return the cameras of the config and those that are watched."""
    watched = [thread.camera.name for thread in page.alarm().threads]
    return list(dict.fromkeys([*config.cameras, *watched]))


def owner_only(request: Request) -> None:
    """Raise Refused for everybody but the owner."""
    if not request.state.access.owner:
        raise Refused(HTTPStatus.FORBIDDEN, "only the owner sees this")


def words_of(value: Any) -> str:
    """Return a value as a form has it in one field; the order of sounds does not matter."""
    return ", ".join(sorted(value)) if isinstance(value, list) else str(value).strip()


def misfit_of(page: Page) -> str | None:
    """Return why the alarm does not use the config on the disk; None where it does, or reports no state."""
    try:
        return page.status().problems.get("config")
    except (TimeoutError, RuntimeError):
        return None


def adopt(page: Page, written: bool) -> str:
    """Have the running alarm read a config that was written, or that it could not use; ``state_of`` says when it did.

    Return the query of a page that shows it; "" where there was nothing to do.
    """
    if not written and misfit_of(page) is None:
        return ""
    assert page.reload  # there is one where there is a config
    before = page.alarm().settings
    page.shared[SAVED] = before, page.reload()
    return "?saved"


def state_of(page: Page) -> dict[str, str]:
    """Return whether the alarm uses the config that was saved last: state (waiting, used, problem) and words."""
    before, read = page.shared.get(SAVED, (None, lambda: ""))
    if problem := read():
        stop = "" if problem.endswith((".", "?")) else "."
        return {"state": "problem", "words": f"Saved, but the alarm goes on as before: {problem}{stop}"}
    if problem is None or before is page.alarm().settings:
        return {"state": "waiting", "words": "Saved. The alarm is about to use it …"}
    return {"state": "used", "words": "Saved, and in use now."}


def entries(config: Written, cameras: Sequence[str]) -> dict[str, list[Entry]]:
    """Return what can be changed, by heading: each camera first."""
    found = {
        f"Camera {camera}": [_entry(config, ("cameras", camera, name)) for name in ("enabled", *LOOKING)]
        for camera in cameras
        if camera in config.cameras
    }
    return found | {heading: [_entry(config, key) for key in keys] for heading, keys in SECTIONS.items()}


def _entry(config: Written, key: Key) -> Entry:
    name = key[-1]
    general = ("detect", name) if key[0] == "cameras" and name in LOOKING else key
    facts = about(general)
    words = str(facts.get("description", ""))
    stated = re.search(r" ?\(default: ([^)]*)\)", words)
    usual = stated[1].replace("`threshold`", "as by day") if stated else facts.get("default", "")
    if general != key and (set_for_all := config.value(general)):
        usual = str(set_for_all)
    raw = config.value(key)
    if key == ("sound", "play"):
        playing = [each for each in (raw if isinstance(raw, list) else [raw]) if isinstance(each, str) and each]
        hint = "Tick what sounds at an alarm. Your own WAV files are added in the text of the config."
        return Entry(key, LABELS[key], "sounds", hint, "", playing, choices=[*dict.fromkeys([*NAMES, *playing])])
    value = "" if raw is None else f"{raw:g}" if isinstance(raw, float) else str(raw)
    kind: Kind = "words"
    if isinstance(usual, bool):
        kind, usual = "switch", "yes" if usual else "no"
        value = "yes" if value.lower() in ON else "no" if value.lower() in OFF else value
    label = LABELS.get(key) or LABELS[name,]
    usual = f"{usual:g}" if isinstance(usual, int | float) else str(usual)
    hint = HINTS.get(key, HINTS.get((name,), words.replace(stated[0], "") if stated else words))
    return Entry(key, label, kind, hint, usual, value, facts.get("minimum"), facts.get("maximum"))


def typed(entry: Entry, form: Mapping[str, str]) -> Any:
    """Return what was typed for a setting, as ``Entry.value`` has it."""
    if entry.kind == "sounds":
        if f"was/{entry.name}" not in form:  # a form without sounds leaves them as they are
            return entry.value
        ticked = {name.removeprefix(f"{entry.name}/") for name in form if name.startswith(f"{entry.name}/")}
        return [*(each for each in entry.choices if each in ticked), *sorted(ticked - set(entry.choices))]
    value = form.get(entry.name, entry.value).strip()
    if entry.low is not None and re.fullmatch(r"0,[0-9]+|[0-9]+,[0-9]{1,2}", value):  # 1,000 may be a thousand
        value = value.replace(",", ".")
    return value


def place_problems(fields: Sequence[Entry], problems: Sequence[ConfigProblem]) -> list[str]:
    """Give each problem to its setting; return those of others, with their line."""
    rest = []
    for each in problems:
        for entry in fields:
            own = key_text(entry.key)
            if each.key == own or each.key.startswith((f"{own}[", f"{own}.")):
                entry.problems.append(each.sentence)
                break
        else:
            rest.append(lined(each))
    return rest


def lined(problem: ConfigProblem) -> str:
    """Return a problem with its line and setting before it."""
    line = f"line {problem.line}" if problem.line else ""
    return ": ".join(part for part in (line, problem.key, problem.sentence) if part)


def settings(request: Request) -> Response:
    """Show the settings; save those that were changed, and have the alarm use them."""
    page, form = page_of(request), request.state.form
    config = written(page)
    cameras = camera_names(page, config)
    shown = entries(config, cameras)
    problems: list[str] = []
    status = HTTPStatus.OK
    if request.method == "POST":
        fields = [entry for group in shown.values() for entry in group]
        stale = form.get("version") != config.version
        changes = {
            entry.key: now
            for entry in fields
            if words_of(now := typed(entry, form)) != form.get(f"was/{entry.name}", entry.was)
        }
        try:
            if config.locked or page.config is None:
                raise OptionError(config.locked or NO_CONFIG)
            wrote = save(page.config, {key: value or None for key, value in changes.items()}, form.get("version", ""))
        except ConfigError as error:
            problems, status = place_problems(fields, error.problems), HTTPStatus.BAD_REQUEST
        except OptionError as error:
            problems, status = [str(error)], HTTPStatus.CONFLICT
        else:
            return back_to(f"/settings{adopt(page, wrote)}")
        for entry in fields:
            if entry.key in changes:
                entry.value, entry.stale = changes[entry.key], stale
                percent = re.fullmatch(r"([0-9]{1,2}) ?%", words_of(entry.value))
                if percent and entry.problems and entry.high is not None and entry.high < 1.0:
                    entry.problems = [f"write {int(percent[1]) / 100:g}"]
    return render(
        request,
        "settings.html",
        status,
        groups=shown if page.config else {},
        config=config,
        locked=config.locked,
        path_of_config=page.config,
        problems=problems,
        may_change=request.state.access.owner and not config.locked,
        cameras=cameras,
        watched=[thread.camera.name for thread in page.alarm().threads],
        also=dict(also_in_use(page.alarm().settings)),
        notice=state_of(page) if "saved" in request.query_params else None,
        misfit=misfit_of(page),
    )


def also_in_use(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what is in use and is only changed in the text of the config, without secrets."""
    alerts = settings.alerts
    yield "Relays", ", ".join(alerts.relays) or "none"
    yield "Messages", ", ".join(map(address_of, alerts.notify)) or "none"
    yield "Texts", "by a command" if alerts.text else "none"
    yield "MQTT", alerts.mqtt.where if alerts.mqtt else "off"
    yield "Heartbeat", address_of(settings.health.heartbeat_url) if settings.health.heartbeat_url else "off"
    yield "New models", ", ".join(map(shown, settings.updates.sources)) or "none by themselves"
    yield "This page", settings.page.listen or "off"


def whole_text(request: Request) -> Response:
    """Show the whole config as text (the owner); save it where nothing in it is wrong."""
    owner_only(request)
    page, form = page_of(request), request.state.form
    if page.config is None:
        raise Refused(HTTPStatus.NOT_FOUND, NO_CONFIG)
    config = written(page)
    text, difference, status = config.text, "", HTTPStatus.OK
    problems = problems_of(page.config)
    if request.method == "POST":
        text = form.get("text", "")
        if "\r\n" not in config.text:  # a browser sends every line's end so
            text = text.replace("\r\n", "\n")
        try:
            wrote = save(page.config, text, form.get("version", ""))
        except ConfigError as error:
            problems, status = [lined(each) for each in error.problems], HTTPStatus.BAD_REQUEST
        except OptionError as error:
            problems, status = [str(error)], HTTPStatus.CONFLICT
            lines = difflib.unified_diff(
                config.text.splitlines(), text.splitlines(), "the file now", "your text", lineterm=""
            )
            difference = "\n".join(lines)
        else:
            return back_to(f"/settings{adopt(page, wrote)}")
    return render(
        request,
        "settings_yaml.html",
        status,
        text=text,
        config=config,
        path_of_config=page.config,
        locked=read_only(page.config),
        problems=problems,
        refused=status != HTTPStatus.OK,
        difference=difference,
    )


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with the config on the disk."""
    try:
        load(path)
    except ConfigError as error:
        return [lined(each) for each in error.problems]
    return []


def state(request: Request) -> Response:
    """Return whether the alarm uses what was saved."""
    return JSONResponse(state_of(page_of(request)))


ROUTES = [
    Route("/settings", settings, methods=["GET", "POST"]),
    Route("/settings/yaml", whole_text, methods=["GET", "POST"]),
    Route("/settings/state", state),
]
