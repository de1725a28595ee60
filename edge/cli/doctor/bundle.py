"""A zip for a bug report: what the doctor found and what somebody far away needs to know, without secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.alert.redact import HIDDEN, scrub, secrets_of
from edge.cli.doctor.findings import CheckResult, python, run
from edge.cli.doctor.packages import WITHIN_S
from edge.cli.doctor.run import PACKAGES
from edge.cli.doctor.target import Target
from edge.device.sensors import about, pairs
from edge.device.systemd import NAME
from edge.errors import BearAlarmError
from edge.files import JOURNAL, replace_whole

if TYPE_CHECKING:
    from edge.settings import Settings


# A config, a log line or an event without secrets: what is not known to be harmless is left out.


# Keys whose values are shown as they are; of every other one only numbers and yes or no.
SHOWN = frozenset({"schedule", "mask", "zones", "play", "relay", "active", "hours", "lamps", "device", "listen"})
# Also of these no number: a password may be one.
SECRET = re.compile(
    r"(?i)pass|pwd|secret|token|key|auth|user|login|pin_?code|url|notify|webhook|source|on_alarm|on_trouble|host|client"
)
PLACEHOLDER = re.compile(r"\$\{\w+\}")
HARMLESS_SOURCE = re.compile(r"\d{1,3}|demo|/dev/[\w/.-]+|picamera://\d+(\?[\w=&]*)?")
SWITCH = re.compile(r"(?i)yes|no|on|off|true|false|null|~|[-+]?\d+(\.\d+)?")
SECRET_VARIABLE = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential")
LEAST_VARIABLE = 6  # characters of a secret variable's value
LEAST_NAME = 4  # characters of a name: a shorter one is part of too many words
DEEPEST = 20  # levels of a config that are looked at
MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
MAC = re.compile(r"\b[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\b")
IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:])")
URL = re.compile(r"\w[\w+.-]*://[^\s'\"]+")
# A stick is found below its user's name too: /media/jane/STICK.
HOME = re.compile(r"(/home|/Users|/media|[A-Za-z]:\\Users)[/\\][^/\\\s'\"]+")
EVERYBODYS = frozenset({"root", "pi", "user", "admin", "ubuntu", "debian", "raspberrypi", "localhost", NAME})


class Redactor:
    """Knows what is secret here, and hides it wherever it stands."""

    def __init__(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        self._secrets = tuple({each for each in secrets if each})
        words = "|".join(re.escape(name) for name in sorted({*names} - {""}, key=len, reverse=True))
        self._names = re.compile(rf"\b(?:{words})\b") if words else None

    def line(self, words: str, *, versions: bool = False) -> str:
        """One line of at most 300 characters for a stranger: no secrets, nobody's address, nobody's name.

        ``versions``: four numbers with dots between are the version of a package there, and no address.
        """
        words = scrub(words, self._secrets)
        words = MAIL.sub(HIDDEN, MAC.sub(HIDDEN, words))
        words = words if versions else IP.sub(_public, words)
        words = HOME.sub(r"\1/" + HIDDEN, words)
        return self._names.sub(HIDDEN, words) if self._names else words

    def anything(self, value: Any) -> Any:
        """The same of every word in what JSON can hold."""
        if isinstance(value, str):
            return self.line(value)
        if isinstance(value, dict):
            return {self.line(str(key)): self.anything(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.anything(each) for each in value]
        return value

    def config(self, text: str) -> str:
        """A YAML config as JSON, which YAML readers read too: its keys, its numbers and what tells nobody anything."""
        import yaml

        try:
            tree = yaml.compose(text, Loader=yaml.SafeLoader)
            found = None if tree is None else self._node(tree, ())
        except (yaml.YAMLError, RecursionError):
            return "# it is no YAML that can be read, so nothing of it is shown\n"
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

    def _node(self, node: Any, path: tuple[str, ...], depth: int = 0) -> Any:
        import yaml

        if depth > DEEPEST:
            return HIDDEN
        if isinstance(node, yaml.MappingNode):
            return {
                self.line(str(key.value)): self._node(value, (*path, str(key.value)), depth + 1)
                for key, value in node.value
                if isinstance(key, yaml.ScalarNode)
            }
        if isinstance(node, yaml.SequenceNode):
            return [self._node(each, path, depth + 1) for each in node.value]
        return self._value(str(node.value), path)

    def _value(self, text: str, path: tuple[str, ...]) -> str:
        """One value: as it stands, its ``${NAME}`` alone, or hidden."""
        key = path[-1] if path else ""
        if not text or PLACEHOLDER.fullmatch(text):
            return text
        if (key == "source" or path[:1] == ("cameras",)) and HARMLESS_SOURCE.fullmatch(text):
            return text
        from edge.config.schema import pattern, settings

        if (
            pattern(path) in settings()  # of a setting that we know: any other may hold a PIN or a telephone number
            and not any(SECRET.search(each) for each in path)
            and (SWITCH.fullmatch(text) or any(each in SHOWN for each in path))
        ):
            return self.line(text) if "://" not in text and "/" not in text else HIDDEN
        scheme = re.match(r"\w+://", text)
        names = PLACEHOLDER.findall(text)
        return (scheme[0] if scheme else "") + HIDDEN + (f" with {', '.join(names)}" if names else "")


def secrets_of_device(settings: Settings, config: Path | None) -> Iterator[str]:
    """Everything that must not be seen: of the settings, the secrets beside the config, and the environment."""
    alerts = settings.alerts
    urls = [alerts.webhook, settings.health.heartbeat_url, *alerts.notify]
    urls += [url for each in settings.cameras for url in (each.source, each.motion_source) if url and "://" in url]
    for url in urls:
        if url:
            yield from secrets_of(url)
            yield from _host(url)
    for word in (alerts.webhook_secret, alerts.on_alarm, alerts.on_trouble):
        yield word or ""
    if alerts.mqtt:
        yield from (alerts.mqtt.user or "", alerts.mqtt.password or "", *_host(f"mqtt://{alerts.mqtt.host}"))
    text = _read(config) if config else ""
    for name in PLACEHOLDER.findall(text):
        yield os.environ.get(name[2:-1], "")
    if config:
        yield from (value for _, value in _values(_read(config.with_name("secrets.yml"))))
        yield from _secret_values(text)
        for url in URL.findall(text):
            yield from secrets_of(url)
    for name, value in os.environ.items():
        if SECRET_VARIABLE.search(name) and len(value) >= LEAST_VARIABLE:
            yield value


def names_of_device() -> Iterator[str]:
    """What its user and the machine itself are called, where that is not what many are called."""
    host = platform.node()
    found = {host, host.partition(".")[0], *(os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER"))}
    yield from (each for each in found if len(each) >= LEAST_NAME and each.lower() not in EVERYBODYS)


def _values(text: str) -> Iterator[tuple[str, str]]:
    """Keys and what stands behind them in lines of ``KEY: VALUE``; it need not be whole YAML."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        value = value.split(" #")[0].strip().strip("'\"")
        if colon and value and not PLACEHOLDER.search(value):
            yield key, value


def _secret_values(text: str) -> Iterator[str]:
    """What stands behind keys that sound like secrets in a config, which may be full of mistakes."""
    import yaml

    try:
        found = _leaves(yaml.compose(text, Loader=yaml.SafeLoader), "")
        pairs = [(key, value) for key, value in found if not PLACEHOLDER.search(value)]
    except (yaml.YAMLError, RecursionError):
        pairs = list(_values(text))
    yield from (value for key, value in pairs if SECRET.search(key) and len(value) >= LEAST_VARIABLE)


def _leaves(node: Any, key: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The values of a YAML tree, each with its keys from the top on."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        yield key, str(node.value)
    elif depth <= DEEPEST and isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _leaves(value, f"{key}.{name.value}", depth + 1)
    elif depth <= DEEPEST and isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _leaves(value, key, depth + 1)


def _host(url: str) -> Iterator[str]:
    """A host's name, where it is no address of the house's own network, which is the same everywhere."""
    found = re.match(r"\w+://(?:.*@)?(\[[^\]]*\]|[^:/?#]*)", url)
    name = (found[1] if found else "").strip("[]")
    try:
        if name and not ip_address(name).is_global:
            return
    except ValueError:
        if name in ("localhost", ""):
            return
    yield name


def _public(match: re.Match[str]) -> str:
    try:
        return HIDDEN if ip_address(match[0]).is_global else match[0]
    except ValueError:
        return match[0]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[: 1 << 20]
    except OSError:
        return ""


EVENTS, LOG_LINES = 200, 500
LOG_S = 20.0
CPU = ("model name", "Hardware", "Revision", "Model", "CPU implementer", "CPU part", "CPU architecture")  # no Serial


def write(path: Path, target: Target, findings: Sequence[CheckResult]) -> list[tuple[str, int, str]]:
    """Write it; each file in it with its bytes and what it is. Raises OptionError where it cannot be written."""
    redactor = Redactor(secrets_of_device(target.settings, target.config), names_of_device())
    buffer, contents = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, what, text in _files(target, findings, redactor):
            data = text.encode("utf-8", "replace")
            file.writestr(name, data)
            contents.append((name, len(data), what))
    replace_whole(path, buffer.getvalue())
    return contents


def _files(target: Target, findings: Sequence[CheckResult], redactor: Redactor) -> Iterator[tuple[str, str, str]]:
    found = [
        {key: redactor.line(words, versions=each.group == PACKAGES) for key, words in asdict(each).items()}
        for each in findings
    ]
    yield "findings.json", "what the doctor found", _json(found)
    yield "versions.txt", "bear-alarm, Python and every package", _versions()
    yield "machine.json", "board, processor, memory and system", _json(redactor.anything(_machine(target)))
    if target.config:
        try:
            text = target.config.read_text(errors="replace")
        except OSError as error:
            text = f"# cannot be read ({error.strerror})"
        yield "config.yml", "your config: keys, numbers and ${NAMES}, without addresses", redactor.config(text)
    events = _events(target, redactor)
    if events:
        yield "events.jsonl", f"the last {len(events)} events, no pictures", "\n".join(events) + "\n"
    log = _log(redactor)
    if log:
        yield "service.log", f"the last {len(log)} lines of the service's log", "\n".join(log) + "\n"
    card = python("edge.cli.doctor.try_model", target.settings.model, WITHIN_S, target.environment).answer
    if isinstance(card, dict) and "card" in card:
        yield "model-card.json", "the card of the model in use", _json(redactor.anything(card["card"]))


def _versions() -> str:
    packages = sorted({f"{each.name}=={each.version}" for each in metadata.distributions() if each.name}, key=str.lower)
    return "\n".join([f"bear-alarm {__version__}", f"Python {sys.version}", platform.platform(), "", *packages]) + "\n"


def _machine(target: Target) -> dict[str, Any]:
    found = pairs(target.root / "proc/cpuinfo")
    return asdict(about(target.root)) | {"cpuinfo": {key: found[key] for key in CPU if key in found}}


def _events(target: Target, redactor: Redactor) -> list[str]:
    """The newest, the oldest of them first; nothing where there is no journal that could be read."""
    from edge.record.history import ReadOnly

    try:
        with ReadOnly(target.state / JOURNAL) as journal:
            rows = journal.rows("SELECT json FROM events ORDER BY id DESC LIMIT ?", [EVENTS])
    except BearAlarmError:  # which is among the findings
        return []
    lines = []
    for (line,) in reversed(rows):
        try:
            lines.append(json.dumps(redactor.anything(json.loads(line)), ensure_ascii=False))
        except ValueError:
            lines.append(json.dumps({"damaged": len(str(line))}))
    return lines


def _log(redactor: Redactor) -> list[str]:
    """What the service said; without the host's name."""
    words = ["journalctl", f"--unit={NAME}", f"--lines={LOG_LINES}", "--no-pager", "--quiet", "--no-hostname"]
    try:
        ended = run([*words, "--output=short-iso"], LOG_S)
    except OSError:
        return []
    lines = ended.out.decode(errors="replace").splitlines() if ended.code == 0 else []
    return [redactor.line(line) for line in lines if line.strip()]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
