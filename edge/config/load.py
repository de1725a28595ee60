"""From a checked config to ``edge.settings.Settings``."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.alert.mqtt_settings import PORTS
from edge.alert.mqtt_settings import Settings as MqttSettings
from edge.config.find import SECRETS
from edge.config.schema import CameraSection, Config, Looking, MqttSection
from edge.config.yaml_tree import Document, Key, Unreadable, key_text, parse, read_text
from edge.detect.zones import Zone
from edge.errors import ConfigError, ConfigProblem
from edge.settings import AlertSettings, Camera, CameraSettings, EvidenceSettings, HealthSettings, Settings

# ``${NAME}`` in a value: from the environment, the credentials of systemd, or ``secrets.yml`` beside the config.


CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's LoadCredential= and SetCredential=
LARGEST = 65_536  # bytes of a credential
OTHERS = 0o007  # of a file's mode: what everybody may do with it

_SIGN = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class SecretResolver:
    """Where names are looked up: the environment first, then systemd's credentials, then the file beside the config.

    An empty value counts as none, so that nobody goes untold for a variable that was forgotten.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.path = folder / SECRETS
        self.warnings: list[str] = []
        self._environment = os.environ if environment is None else environment
        self._file: dict[str, str] | None = None  # None: not read yet
        self._fault = ""  # of the file

    def __repr__(self) -> str:
        return f"Vault({self.path})"

    def __getitem__(self, name: str) -> str:
        """What a name stands for. Raises KeyError, with a sentence, where it is nowhere."""
        found = self._environment.get(name) or self._credential(name) or self._secrets().get(name)
        if not found:
            raise KeyError(f"${{{name}}} stands for nothing: {self._looked()}")
        return found

    def _looked(self) -> str:
        credentials = f", no credential in ${CREDENTIALS}" if self._environment.get(CREDENTIALS) else ""
        if self._fault:
            return f"no environment variable{credentials}, and {self._fault}"
        there = "not in" if self.path.exists() else "there is no"
        return f"no environment variable{credentials}, and {there} {self.path}"

    def _credential(self, name: str) -> str | None:
        folder = self._environment.get(CREDENTIALS)
        if not folder:
            return None
        try:
            with (Path(folder) / name).open("rb") as file:
                data = file.read(LARGEST)
            return data.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError):  # none of that name, or no text
            return None

    def _secrets(self) -> dict[str, str]:
        if self._file is None:
            self._file = {}
            try:
                if self.path.exists():
                    self._file = self._read()
            except OSError as error:
                self._fault = f"{self.path} cannot be read ({error.strerror})"
            except Unreadable as error:
                self._blame(error.problem)
        return self._file

    def _read(self) -> dict[str, str]:
        document = parse(read_text(self.path))
        if os.name == "posix" and self.path.stat().st_mode & OTHERS:
            self.warnings.append(f"{self.path} may be read by everybody on this device; run: chmod 600 {self.path}")
        for problem in document.problems:
            self._blame(problem)
        if document.data is not None and not isinstance(document.data, dict):
            self._fault = f"{self.path} does not hold lines of NAME: value"
            return {}
        wrong = {problem.key for problem in document.problems}  # set twice, or in quotes that are none
        found = (document.data or {}).items()
        return {name: value for name, value in found if isinstance(value, str) and key_text((name,)) not in wrong}

    def _blame(self, problem: ConfigProblem) -> None:
        where = f"{self.path}:{problem.line}" if problem.line else str(self.path)
        self._fault = f"{where}: {problem.sentence}"


def fill(document: Document, vault: SecretResolver) -> None:
    """Fill in the names in all values; those of which one stands for nothing are hollow, and left as they are."""

    def walk(value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: walk(inner, (*key, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*key, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        filled, wrong = _filled(value, vault)
        for sentence in wrong:
            document.add(key, sentence)
        if wrong:
            document.hollow.add(key)
            return value
        if filled != value.replace("$${", "${"):
            document.filled[key] = value
        return filled

    document.data = walk(document.data, ())


def _filled(text: str, vault: SecretResolver) -> tuple[str, list[str]]:
    """The text with its names filled in, and what is wrong with them."""
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
                return vault[name]
            except KeyError as error:
                wrong.append(f"{error.args[0]} (for the text itself write $${{{name}}})")
        return ""

    return _SIGN.sub(one, text), wrong


# A config from its text to settings: read, fill in, check, check together; every problem is found at once.


log = logging.getLogger(__name__)

MOST_ROUNDS = 50
MOST_PROBLEMS = 100  # that are told at once; to find out what each of thousands was meant to be takes minutes


@dataclass(frozen=True)
class Loaded:
    """A config that can be used, and what of it is in doubt."""

    settings: Settings
    warnings: tuple[str, ...] = field(default=())


def load(path: Path) -> Loaded:
    """The config in a file. Raises ConfigError."""
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
    """The config that some text means, were it in the file ``path``. Raises ConfigError."""
    folder = path.expanduser().absolute().parent
    document = parse(text, _is_named)
    vault = SecretResolver(folder)
    config: Config | None = None
    if not isinstance(document.data, dict | None):
        document.add((), "settings are wanted, lines of KEY: VALUE")
    else:
        fill(document, vault)
        config = _checked(document, folder)
    if document.problems or config is None:
        found = sorted(set(document.problems), key=lambda each: (each.line, each.column, each.key))
        if len(found) > MOST_PROBLEMS:
            found[MOST_PROBLEMS:] = [ConfigProblem(0, 0, "", "and more mistakes than these; mend these first")]
        raise ConfigError(path, found)

    return Loaded(settings_of(config), tuple(vault.warnings))


def _is_named(key: Key) -> bool:
    """What is there once its name is: a camera, a zone."""
    return (len(key) == 2 and key[0] == "cameras") or (len(key) == 4 and (key[0], key[2]) == ("cameras", "zones"))


def _checked(document: Document, folder: Path) -> Config | None:
    """The config, without the settings that are wrong; what is wrong is told to the document."""
    from pydantic import ValidationError

    from edge.config.check import absent, check_together, filled_under, key_of, refused, sentence

    wrong = set(document.hollow)

    def add(key: Key, words: str, *others: Key) -> None:
        """One problem a setting; what follows from a mistake in it or in one of the others is noise."""
        if not any(_touch(each, bad) for each in (key, *others) for bad in wrong):
            document.add(key, words)

    def add_refused(key: Key, words: str, *others: Key) -> None:
        add(document.written(key), refused(document, key, words), *others)

    data = document.data or {}
    config: Config | None = None
    for _ in range(MOST_ROUNDS):
        errors = []
        try:
            config = Config.model_validate(data, context=folder)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        if config is not None or not errors:
            break
        found = {key_of(each, data): each for each in reversed(errors)}  # of two of the same key the first
        first = sorted(found, key=document.order)[: MOST_PROBLEMS + 1]
        for key, each in ((key, found[key]) for key in first):
            missing = each["type"] == "missing"
            add(key if missing else document.written(key), sentence(each, key, document))
            data = _without(data, key[:-1] if missing else key)
        if len(found) > MOST_PROBLEMS:
            return None
        wrong |= set(found)
    if config is not None:
        check_together(config, add_refused)
        for key, path in absent(config):
            # The alarm would show it, and what stands there in place of a path may be a password.
            if any(path not in written for written in filled_under(document, document.written(key))):
                add_refused(key, "it is not there")
    return config


def _touch(one: Key, other: Key) -> bool:
    """Whether one setting is the other, or a part of it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _without(data: Any, key: Key) -> Any:
    """The data without a setting, or without the list that it stands in; None where nothing is left of it."""
    if not isinstance(data, dict) or not key:
        return None
    word, *rest = key
    if word not in data:  # it went with something else
        return data
    inner = _without(data[word], tuple(rest)) if rest else None
    left = {name: value for name, value in data.items() if name != word}
    return left if inner is None else left | {word: inner}


def settings_of(config: Config) -> Settings:
    """Everything ``watch`` runs on; a camera that is missing at the start is down, and tried again."""
    return Settings(
        cameras=tuple(
            _camera(name, camera, config.detect) for name, camera in config.cameras.items() if camera.enabled
        ),
        alerts=_alerts(config),
        evidence=EvidenceSettings(
            keep=config.record.enabled,
            folder=config.record.path,
            quota_mb=config.record.quota_mb,
            reserve_mb=config.record.reserve_mb,
            negatives_per_day=config.record.negatives_per_day,
            full=config.record.full_frame,
            pre_capture_s=config.record.pre_capture_s,
            post_capture_s=config.record.post_capture_s,
        ),
        health=HealthSettings(
            hot_c=config.health.hot_c,
            low_disk_mb=config.health.low_disk_mb,
            slow_ms=config.health.slow_ms,
            heartbeat_url=config.health.heartbeat.url,
            heartbeat_s=config.health.heartbeat.every_s,
            listen=config.health.listen,
            restart_after_s=config.health.restart_after_s,
            reboot=config.health.reboot,
        ),
        model=config.model,
        state=config.state,
        trace=config.trace,
        waits=True,
    )


def _camera(name: str, camera: CameraSection, usual: Looking) -> Camera:
    return Camera(
        name=name,
        source=camera.source,
        motion_source=camera.motion_source,
        follow=camera.follow,
        settings=CameraSettings(
            masks=camera.motion.mask,
            zones=tuple(Zone(zone, corners) for zone, corners in camera.zones.items()),
            schedule=usual.schedule if camera.schedule is None else camera.schedule,
            fps=usual.fps if camera.fps is None else camera.fps,
            idle_fps=usual.idle_fps if camera.idle_fps is None else camera.idle_fps,
            threshold=usual.threshold if camera.threshold is None else camera.threshold,
            night_threshold=usual.night_threshold if camera.night_threshold is None else camera.night_threshold,
            alarm_at=usual.alarm_at if camera.alarm_at is None else camera.alarm_at,
        ),
    )


def _alerts(config: Config) -> AlertSettings:
    return AlertSettings(
        bell=config.bell,
        sounds=config.sound.play,
        sound_s=config.sound.seconds,
        sound_device=config.sound.device,
        relays=tuple(pin.words for pin in config.relay),
        deterrent=config.deterrent.play,
        deterrent_lamps=tuple(pin.words for pin in config.deterrent.lamps),
        deterrent_hours=config.deterrent.hours,
        on_alarm=config.command.on_alarm,
        on_trouble=config.command.on_trouble,
        events=config.events,
        mqtt=_broker(config.mqtt) if config.mqtt else None,
        webhook=config.webhook.url,
        webhook_secret=config.webhook.secret,
        notify=config.notify,
    )


def _broker(mqtt: MqttSection) -> MqttSettings:
    usual = PORTS["mqtts" if mqtt.tls else "mqtt"]
    return MqttSettings(
        host=mqtt.host,
        port=usual if mqtt.port is None else mqtt.port,
        user=mqtt.user,
        password=mqtt.password,
        tls=mqtt.tls,
        ca=mqtt.ca,
        insecure=mqtt.insecure,
        prefix=mqtt.prefix,
        discovery=mqtt.discovery,
        every_s=mqtt.every_s,
        pictures=mqtt.pictures,
        client_id=mqtt.client_id,
    )
