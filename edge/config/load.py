"""Load a config: read it, fill in ``${NAME}``, check it, and make settings of it. Every problem is found at once.

Below: each problem in one sentence that holds no secret, and the settings of a config without problems.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from edge.alert.mqtt_settings import PORTS, MqttSettings
from edge.alert.redact import scrub
from edge.config.check import ESCAPED, absent, check_together
from edge.config.schema import CameraSection, Config, Looking, Section, about, kind_of, unknown
from edge.config.secrets import SecretResolver, fill
from edge.config.yaml_tree import Document, Key, Unreadable, key_text, parse, read_text
from edge.detect.zones import Zone
from edge.errors import ConfigError, ConfigProblem
from edge.settings import (
    AlertSettings,
    Camera,
    CameraSettings,
    EvidenceSettings,
    HealthSettings,
    PageSettings,
    Settings,
    Site,
    StageSettings,
    UpdateSettings,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic_core import ErrorDetails

MAX_ROUNDS = 50
MAX_PROBLEMS = 100  # shown at once, and looked for: each of them is compared with all the others

MAX_SENTENCE = 400  # characters of a sentence
MAX_VALUE_SHOWN = 60
SOURCES = ("source", "motion_source")
NO_SPACE = re.compile(r"[\w-]+:(?!//)\S")  # yard:0

Made = TypeVar("Made", bound="DataclassInstance")  # one of edge.settings


@dataclass(frozen=True)
class Loaded:
    """A config that can be used, and warnings about it."""

    settings: Settings
    warnings: tuple[str, ...] = ()


def load(path: Path) -> Loaded:
    """Load the config in a file. Raises ConfigError."""
    try:
        return load_text(read_text(path.expanduser()), path)
    except Unreadable as error:
        raise ConfigError(path, [error.problem]) from None


def load_text(text: str, path: Path) -> Loaded:
    """Load a text as if it were in the file ``path``. Raises ConfigError."""
    folder = path.expanduser().absolute().parent
    document = parse(text)
    secrets = SecretResolver(folder)
    config: Config | None = None
    if not isinstance(document.data, dict | None):
        document.add((), "settings are wanted, lines of KEY: VALUE")
    else:
        fill(document, secrets)
        config = _checked(document, folder)
    if document.problems or config is None:
        found = sorted(set(document.problems), key=lambda each: (each.line, each.column, each.key))
        if len(found) > MAX_PROBLEMS:
            found[MAX_PROBLEMS:] = [ConfigProblem(0, 0, "", "and more mistakes than these; correct these first")]
        raise ConfigError(path, found)
    return Loaded(settings_of(config), tuple(secrets.warnings))


def _checked(document: Document, folder: Path) -> Config | None:
    """Return the config without the settings that are wrong, whose problems the document notes; None without any."""

    def add(key: Key, words: str, *others: Key) -> None:
        """Note one problem a setting; what follows from a mistake in it or in one of the others is noise."""
        if not any(_touch(each, bad) for each in (key, *others) for bad in document.wrong):
            document.add(key, words)

    def add_refused(key: Key, words: str, *others: Key) -> None:
        if len(document.problems) <= MAX_PROBLEMS:
            add(document.written(key), refused(document, key, words), *others)

    data = document.data or {}
    for _ in range(MAX_ROUNDS):
        if len(document.problems) > MAX_PROBLEMS:
            return None
        try:
            config = Config.model_validate(data, context=folder)
            break
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        found = {key_of(each, data): each for each in reversed(errors)}  # of two of the same key the first
        for key in sorted(found, key=document.place)[: MAX_PROBLEMS + 1]:
            missing = found[key]["type"] == "missing"
            add(key if missing else document.written(key), sentence(found[key], key, document))
            data = _without(data, key[:-1] if missing else key)
        document.wrong |= set(found)
    else:
        return None
    check_together(config, add_refused)
    for key, path in absent(config):
        if len(document.problems) > MAX_PROBLEMS:
            break
        # The alarm would show it, and it may be a password in place of a path.
        if any(path not in written for written in filled_under(document, document.written(key))):
            add_refused(key, "it is not there")
    return config


def _touch(one: Key, other: Key) -> bool:
    """Return whether one setting is the other, or a part of it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _without(data: Any, key: Key) -> Any:
    """Return the data without a setting, or without the list around it; None where nothing is left."""
    if not isinstance(data, dict) or not key:
        return None
    word, *rest = key
    if word not in data:  # it went with something else
        return data
    inner = _without(data[word], tuple(rest)) if rest else None
    left = {name: value for name, value in data.items() if name != word}
    return left if inner is None else left | {word: inner}


def key_of(error: ErrorDetails, data: Any) -> Key:
    """Return the setting that an error is of. In the checked ``data`` one value may be written for a list of it."""
    key: Key = ()
    for part in error["loc"]:
        if part == "[key]" or (isinstance(part, int) and not isinstance(data, list)):
            continue
        key += (part,)
        data = valued(data, (part,))
    return key


def sentence(error: ErrorDetails, key: Key, document: Document) -> str:
    """Return what is wrong with a setting, and what to do."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return unknown(key, valued(document.data, key))
    if kind == "missing":
        return f"it is missing. {about(key).get('description', '')}".rstrip()
    value = valued(document.data, key)
    if kind == "value_error":
        return refused(document, key, str(error.get("ctx", {}).get("error", error["msg"])))
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return _not_settings(key, value)
    if isinstance(value, dict | list):
        return f"{kind_of(value)} where {_wanted(key)} is wanted"
    shown = _shown(document, key, value)
    if kind.startswith("bool"):
        return f"{shown} is neither on nor off"
    if kind == "literal_error":
        return f"{shown} is none of {', '.join(about(key).get('enum', ()))}. {about(key).get('description', '')}"
    if kind.startswith(("float", "int", "finite")):
        give = f"; give one {_bounds(key)}" if _bounds(key) else ""
        return f"{shown} is no {'whole ' if kind.startswith('int') else ''}number{give}{_as_share(key, shown)}"
    if kind.startswith(("greater", "less")):
        return f"{shown} is not {_bounds(key)}{_as_share(key, shown)}"
    return f"{shown} cannot be used here. {about(key).get('description', '')}".rstrip()


def valued(data: Any, key: Key) -> Any:
    """Return the value of a setting, or the one value that is written for the section around it."""
    for part in key:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if not inside or (isinstance(data, list) and isinstance(part, int) and part >= len(data)):
            break
        data = data[part]
    return data


def filled_under(document: Document, key: Key) -> list[str]:
    """Return the values with ``${NAME}`` in them that a setting is made of, as they were written."""
    return [
        written for inner, written in document.filled.items() if inner[: len(key)] == key or key[: len(inner)] == inner
    ]


def refused(document: Document, key: Key, words: str) -> str:
    """Return a parser's sentence about a setting, but another where it could quote a secret."""
    written = filled_under(document, key)
    if not written:
        return words if len(words) <= MAX_SENTENCE else words[: MAX_SENTENCE - 2] + " …"
    names = ", ".join(dict.fromkeys(name for each in written for name in re.findall(r"(?<!\$)\$\{[^{}]*\}", each)))
    if key and key[-1] in SOURCES:
        return f"with the value of {names} it is not an address; {ESCAPED}"
    return f"with the value of {names} it cannot be used. {about(key).get('description', '')}".rstrip()


def _shown(document: Document, key: Key, value: Any) -> str:
    """Return a value as it was written, without the password of an address."""
    if written := filled_under(document, key):
        return repr(written[0][:MAX_VALUE_SHOWN])
    words = scrub(str(value))
    return repr(words if len(words) <= MAX_VALUE_SHOWN else words[: MAX_VALUE_SHOWN - 2] + " …")


def _not_settings(key: Key, value: Any) -> str:
    space = "; a space is missing behind the colon" if isinstance(value, str) and NO_SPACE.match(value) else ""
    where = key_text(key) or "a config"
    return (
        f"{kind_of(value)} where settings are wanted{space}; {where} takes lines of KEY: VALUE, indented and without -"
    )


def _wanted(key: Key) -> str:
    types = str(about(key))
    if "'boolean'" in types:
        return "on or off"
    return "a number" if "'number'" in types or "'integer'" in types else "a word"


def _bounds(key: Key) -> str:
    low, high = about(key).get("minimum"), about(key).get("maximum")
    if low is None or high is None:
        return ""
    return f"between {low:g} and {high:g}"


def _as_share(key: Key, shown: str) -> str:
    """Return how to write a percentage where a share is wanted; empty for what is none."""
    percent = re.fullmatch(r"'(\d+(?:\.\d+)?) ?%?'", shown)
    low, high = about(key).get("minimum"), about(key).get("maximum")
    if not percent or low is None or high is None or not low <= (share := float(percent[1]) / 100) <= high < 1:
        return ""
    return f"; write {share:g} for {percent[1]} %"


def settings_of(config: Config) -> Settings:
    """Return everything ``watch`` runs on; a camera that is missing at the start is down, and tried again."""
    record, heartbeat = config.record, config.health.heartbeat
    watched = [(name, camera) for name, camera in config.cameras.items() if camera.enabled]
    return _made(
        Settings,
        config,
        cameras=tuple(_camera(name, camera, config.detect) for name, camera in watched),
        alerts=_alerts(config),
        evidence=_made(EvidenceSettings, record, keep=record.enabled, folder=record.path, full=record.full_frame),
        page=_made(PageSettings, config.page),
        stages=_made(StageSettings, config.stages),
        updates=_made(UpdateSettings, config.updates),
        site=_made(Site, config.site),
        health=_made(HealthSettings, config.health, heartbeat_url=heartbeat.url, heartbeat_s=heartbeat.every_s),
        waits=True,
    )


def _made(kind: type[Made], section: Section, **others: Any) -> Made:
    """Make settings of a section: what is called the same in both, and the others."""
    same = {each.name for each in fields(kind)} & type(section).model_fields.keys()
    return kind(**{name: getattr(section, name) for name in same} | others)


def _camera(name: str, camera: CameraSection, usual: Looking) -> Camera:
    own = {key: value for key in Looking.model_fields if (value := getattr(camera, key)) is not None}
    zones = tuple(Zone(zone, corners) for zone, corners in camera.zones.items())
    settings = _made(CameraSettings, usual, masks=camera.motion.mask, zones=zones, **own)
    return _made(Camera, camera, name=name, settings=settings, stage=camera.stage or "")


def _alerts(config: Config) -> AlertSettings:
    mqtt = config.mqtt
    usual_port = PORTS["mqtts" if mqtt and mqtt.tls else "mqtt"]
    return _made(
        AlertSettings,
        config,
        sounds=config.sound.play,
        sound_s=config.sound.seconds,
        sound_device=config.sound.device,
        relays=tuple(pin.words for pin in config.relay),
        deterrent=config.deterrent.play,
        deterrent_lamps=tuple(pin.words for pin in config.deterrent.lamps),
        deterrent_hours=config.deterrent.hours,
        on_alarm=config.command.on_alarm,
        on_trouble=config.command.on_trouble,
        text=config.command.text,
        mqtt=mqtt and _made(MqttSettings, mqtt, port=usual_port if mqtt.port is None else mqtt.port),
        webhook=config.webhook.url,
        webhook_secret=config.webhook.secret,
    )
