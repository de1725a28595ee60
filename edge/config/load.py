"""Load a config: read it, fill in ``${NAME}``, check it, and make settings of it. Every problem is found at once."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from edge.alert.mqtt_settings import PORTS, MqttSettings
from edge.config.check import absent, check_together, filled_under, key_of, refused, sentence
from edge.config.find import SECRETS
from edge.config.schema import CameraSection, Config, Looking, Section
from edge.config.yaml_tree import Document, Key, Unreadable, key_text, parse, read_text
from edge.detect.zones import Zone
from edge.errors import ConfigError, ConfigProblem
from edge.settings import AlertSettings, Camera, CameraSettings, EvidenceSettings, HealthSettings, Settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_ROUNDS = 50
MAX_PROBLEMS = 100  # shown at once, and looked for: each of them is compared with all the others

CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's LoadCredential= and SetCredential=
MAX_CREDENTIAL_BYTES = 65_536
OTHERS_MODE = 0o007  # the part of a file's mode that is about everybody else
_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

Made = TypeVar("Made", bound="DataclassInstance")  # one of edge.settings


@dataclass(frozen=True)
class Loaded:
    """A config that can be used, and what of it is in doubt."""

    settings: Settings
    warnings: tuple[str, ...] = ()


def load(path: Path) -> Loaded:
    """Load the config in a file. Raises ConfigError."""
    try:
        text = read_text(path.expanduser())
    except RuntimeError:
        problem = ConfigProblem(0, 0, "", "no such user's home folder; give the whole path")
    except Unreadable as error:
        problem = error.problem
    else:
        return load_text(text, path)
    raise ConfigError(path, [problem])


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
            found[MAX_PROBLEMS:] = [ConfigProblem(0, 0, "", "and more mistakes than these; mend these first")]
        raise ConfigError(path, found)
    return Loaded(settings_of(config), tuple(secrets.warnings))


def fill(document: Document, secrets: SecretResolver) -> None:
    """Fill in the names in all values. A value with a name that stands for nothing is wrong, and left as it is."""

    def walk(value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: walk(inner, (*key, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*key, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        filled, sentences = _filled(value, secrets)
        for words in sentences:
            document.add(key, words)
        if sentences:
            document.wrong.add(key)
            return value
        if filled != value.replace("$${", "${"):
            document.filled[key] = value
        return filled

    document.data = walk(document.data, ())


def _filled(text: str, secrets: SecretResolver) -> tuple[str, list[str]]:
    """Return the text with its names filled in, and what is wrong with them."""
    wrong: list[str] = []

    def one(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            wrong.append("${ has no } behind it; write ${NAME}, or $${ where it is meant as it is")
        elif not _NAME.fullmatch(name):
            wrong.append("${…} holds no name (letters, digits, _); write $${ where it is meant as it is")
        else:
            try:
                return secrets[name]
            except KeyError as error:
                wrong.append(f"{error.args[0]} (for the text itself write $${{{name}}})")
        return ""

    return _PLACEHOLDER.sub(one, text), wrong


class SecretResolver:
    """Look names up in the environment, then in systemd's credentials, then in ``secrets.yml`` beside the config.

    An empty value counts as none: a forgotten variable must not silence an alert.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SECRETS
        self.warnings: list[str] = []
        self._fault = ""  # of the file

    def __getitem__(self, name: str) -> str:
        """Return what a name stands for. Raises KeyError, with a sentence, where it is nowhere."""
        found = os.environ.get(name) or self._credential(name) or self._file.get(name)
        if found:
            return found
        places = "no environment variable"
        if os.environ.get(CREDENTIALS):
            places += f", no credential in ${CREDENTIALS}"
        there = "not in" if self.path.exists() else "there is no"
        raise KeyError(f"${{{name}}} stands for nothing: {places}, and {self._fault or f'{there} {self.path}'}")

    def _credential(self, name: str) -> str | None:
        folder = os.environ.get(CREDENTIALS)
        if not folder:
            return None
        try:
            with (Path(folder) / name).open("rb") as file:
                data = file.read(MAX_CREDENTIAL_BYTES)
            return data.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError):  # none of that name, or no text
            return None

    @cached_property
    def _file(self) -> dict[str, str]:
        """Return the usable lines of the file; what is wrong with the others is remembered."""
        try:
            if not self.path.exists():
                return {}
            document = parse(read_text(self.path))
            if os.name == "posix" and self.path.stat().st_mode & OTHERS_MODE:
                self.warnings.append(f"{self.path} may be read by everybody on this device; run: chmod 600 {self.path}")
        except OSError as error:
            self._fault = f"{self.path} cannot be read ({error.strerror})"
            return {}
        except Unreadable as error:
            self._blame(error.problem)
            return {}
        for problem in document.problems:
            self._blame(problem)
        data = {} if document.data is None else document.data
        if not isinstance(data, dict):
            self._fault = f"{self.path} does not hold lines of NAME: value"
            return {}
        wrong = {problem.key for problem in document.problems}  # set twice, or in quotes that are none
        usable = {name: value for name, value in data.items() if key_text((name,)) not in wrong}
        return {name: value for name, value in usable.items() if isinstance(value, str)}

    def _blame(self, problem: ConfigProblem) -> None:
        where = f"{self.path}:{problem.line}" if problem.line else str(self.path)
        self._fault = f"{where}: {problem.sentence}"


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
        # The alarm would show it, and what stands there in place of a path may be a password.
        if any(path not in written for written in filled_under(document, document.written(key))):
            add_refused(key, "it is not there")
    return config


def _touch(one: Key, other: Key) -> bool:
    """Return whether one setting is the other, or a part of it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _without(data: Any, key: Key) -> Any:
    """Return the data without a setting, or without the list it stands in; None where nothing is left of it."""
    if not isinstance(data, dict) or not key:
        return None
    word, *rest = key
    if word not in data:  # it went with something else
        return data
    inner = _without(data[word], tuple(rest)) if rest else None
    left = {name: value for name, value in data.items() if name != word}
    return left if inner is None else left | {word: inner}


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
    return _made(Camera, camera, name=name, settings=settings)


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
        mqtt=mqtt and _made(MqttSettings, mqtt, port=usual_port if mqtt.port is None else mqtt.port),
        webhook=config.webhook.url,
        webhook_secret=config.webhook.secret,
    )
