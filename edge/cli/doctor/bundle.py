"""Write a zip for a bug report: the findings and what a helper far away needs to know, without secrets.

Of the config, only the values of known settings are shown, and none of a key that names a secret. A hidden value is
hidden in findings, events and the log too.
"""

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
from typing import Any

from edge.alert.redact import HIDDEN, scrub, secrets_of
from edge.cli.doctor import software
from edge.cli.doctor.child import run
from edge.cli.doctor.findings import CheckResult, Target
from edge.cli.output import json_text
from edge.config import SECRETS
from edge.device.sensors import about, pairs
from edge.device.systemd_host import NAME
from edge.errors import BearAlarmError
from edge.files import JOURNAL, replace_whole
from edge.version import __version__

EVENTS, LOG_LINES = 200, 500
LOG_S = 20.0
CPU = ("model name", "Hardware", "Revision", "Model", "CPU implementer", "CPU part", "CPU architecture")  # no Serial


def write(path: Path, target: Target, findings: Sequence[CheckResult]) -> list[tuple[str, int, str]]:
    """Write the zip; return its files with their bytes and contents. Raises OptionError where it cannot be written."""
    redactor = Redactor(secrets_of_device(target.config), names_of_device())
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
        {key: redactor.line(words, versions=each.group == software.GROUP) for key, words in asdict(each).items()}
        for each in findings
    ]
    yield "findings.json", "what the doctor found", _document(found)
    yield "versions.txt", "bear-alarm, Python and every package", _versions()
    yield "machine.json", "board, processor, memory and system", _document(redactor.anything(_machine(target)))
    if target.config:
        yield "config.yml", "your config, without secrets and addresses", redactor.config(read_text(target.config))
    events = _events(target, redactor)
    if events:
        yield "events.jsonl", f"the last {len(events)} events, no pictures", "\n".join(events) + "\n"
    log = _log(redactor)
    if log:
        yield "service.log", f"the last {len(log)} lines of the service's log", "\n".join(log) + "\n"
    card = software.tried(target).answer
    if isinstance(card, dict) and "card" in card:
        yield "model-card.json", "the card of the model in use", _document(redactor.anything(card["card"]))


def _versions() -> str:
    versions = sorted({f"{each.name}=={each.version}" for each in metadata.distributions() if each.name}, key=str.lower)
    return "\n".join([f"bear-alarm {__version__}", f"Python {sys.version}", platform.platform(), "", *versions]) + "\n"


def _machine(target: Target) -> dict[str, Any]:
    found = pairs(target.root / "proc/cpuinfo")
    return asdict(about(target.root)) | {"cpuinfo": {key: found[key] for key in CPU if key in found}}


def _events(target: Target, redactor: Redactor) -> list[str]:
    """Read the newest events, the oldest of them first; none where no journal can be read."""
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
    """Read the service's log, without the host's name."""
    words = ["journalctl", f"--unit={NAME}", f"--lines={LOG_LINES}", "--no-pager", "--quiet", "--no-hostname"]
    try:
        ended = run([*words, "--output=short-iso"], LOG_S)
    except OSError:
        return []
    lines = ended.out.decode(errors="replace").splitlines() if ended.code == 0 else []
    return [redactor.line(line) for line in lines if line.strip()]


def _document(value: object) -> str:
    return json_text(value) + "\n"


# Hiding what is secret on this device, for a bundle that strangers read.


# Keys whose values are secrets; a number may be one too.
SECRET_KEY = re.compile(
    r"(?i)pass|pwd|secret|token|key|auth|user|login|pin_?code|url|notify|webhook|source|on_alarm|on_trouble|\btext$|host|client"
)
SECRET_VARIABLE = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential")
MIN_VARIABLE_CHARS = 6  # of a secret variable's value
MIN_NAME_CHARS = 4  # a shorter name is part of too many words
MAX_CONFIG_CHARS = 1 << 20
PLACEHOLDER = re.compile(r"\$\{\w+\}")
CAMERA = re.compile(r"\d{1,3}|demo|/dev/[\w/.-]+|picamera://\d+(\?[\w=&]*)?")  # sources that hold no secret
URL = re.compile(r"\w[\w+.-]*://[^\s'\"]+")
MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
MAC = re.compile(r"\b[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\b")
IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:])")
# A stick is found below its user's name too: /media/jane/STICK.
HOME = re.compile(r"(/home|/Users|/media|[A-Za-z]:\\Users)[/\\][^/\\\s'\"]+")
COMMON_NAMES = frozenset({"root", "pi", "user", "admin", "ubuntu", "debian", "raspberrypi", "localhost", NAME})


class Redactor:
    """Hides this device's secrets in any text."""

    def __init__(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        self._secrets = tuple({each for each in secrets if each})
        words = "|".join(re.escape(name) for name in sorted({*names} - {""}, key=len, reverse=True))
        self._names = re.compile(rf"\b(?:{words})\b") if words else None

    def line(self, words: str, *, versions: bool = False) -> str:
        """Return a line without secrets, public addresses and names of people.

        ``versions``: four numbers with dots between are the version of a package there, and no address.
        """
        words = scrub(words, self._secrets)
        words = MAIL.sub(HIDDEN, MAC.sub(HIDDEN, words))
        words = words if versions else IP.sub(_unless_public, words)
        words = HOME.sub(r"\1/" + HIDDEN, words)
        return self._names.sub(HIDDEN, words) if self._names else words

    def anything(self, value: Any) -> Any:
        """Do the same with every word in what JSON can hold."""
        if isinstance(value, str):
            return self.line(value)
        if isinstance(value, dict):
            return {self.line(str(key)): self.anything(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.anything(each) for each in value]
        return value

    def config(self, text: str) -> str:
        """Write a YAML config as JSON, which YAML readers read too, with its secrets hidden."""
        try:
            return json_text(self._shown(_parsed(text), ())) + "\n"
        except (ValueError, RecursionError):
            return "# this is not readable YAML, so nothing of it is shown\n"

    def _shown(self, value: Any, path: tuple[str, ...]) -> Any:
        from edge.config.schema import pattern, settings

        if isinstance(value, dict):
            return {self.line(str(key)): self._shown(each, (*path, str(key))) for key, each in value.items()}
        if isinstance(value, list):
            return [self._shown(each, path) for each in value]
        text = str(value)
        if value in (None, "") or PLACEHOLDER.fullmatch(text):
            return value
        if path[:1] == ("cameras",) and CAMERA.fullmatch(text):
            return value
        # An unknown key may hold a telephone number; the value of a whole section (`mqtt: …`) is an address.
        here = pattern(path)
        setting = here in settings() and not any(each[:-1] == here for each in settings())
        if setting and not any(map(SECRET_KEY.search, path)) and "://" not in text and "@" not in text:
            return self.line(value) if isinstance(value, str) else value
        scheme = re.match(r"\w+://", text)
        names = PLACEHOLDER.findall(text)
        return (scheme[0] if scheme else "") + HIDDEN + (f" with {', '.join(names)}" if names else "")


def secrets_of_device(config: Path | None) -> Iterator[str]:
    """Find everything that must not be seen: in the config, in the secrets beside it, and in the environment."""
    if config:
        text = read_text(config)
        for key, value in _secret_values(text):
            if re.search(r"(?i)host", key):
                yield from _host(f"//{value}")
            elif not CAMERA.fullmatch(value):
                yield value
        for url in URL.findall(text):
            yield from secrets_of(url)
            yield from _host(url)
        for name in PLACEHOLDER.findall(text):
            yield os.environ.get(name[2:-1], "")
        for _, value in _lines(read_text(config.with_name(SECRETS))):
            yield value
    for name, value in os.environ.items():
        if SECRET_VARIABLE.search(name) and len(value) >= MIN_VARIABLE_CHARS:
            yield value


def names_of_device() -> Iterator[str]:
    """Find what its user and the machine itself are called, where that is not what many are called."""
    host = platform.node()
    found = {host, host.partition(".")[0], *(os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER"))}
    yield from (each for each in found if len(each) >= MIN_NAME_CHARS and each.lower() not in COMMON_NAMES)


def _parsed(text: str) -> Any:
    """Read YAML as plain data. Raises ValueError."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _secret_values(text: str) -> Iterator[tuple[str, str]]:
    """Find the values of keys that name secrets in a config, which may be full of mistakes."""
    try:
        found = list(_leaves(_parsed(text), ""))
    except (ValueError, RecursionError):
        found = list(_lines(text))
    yield from ((key, value) for key, value in found if SECRET_KEY.search(key) and not PLACEHOLDER.search(value))


def _leaves(value: Any, keys: str) -> Iterator[tuple[str, str]]:
    """List the values of plain data, each with its keys from the top on."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{keys}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, keys)
    elif value is not None and not isinstance(value, bool):
        yield keys, str(value)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """List keys and values of lines such as ``KEY: VALUE``; it need not be whole YAML."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        value = value.split(" #")[0].strip().strip("'\"")
        if colon and value:
            yield key, value


def _host(url: str) -> Iterator[str]:
    """Find a host's name, unless it is an address of the house's own network, which is the same everywhere."""
    found = re.match(r"[\w+.-]*//(?:.*@)?(\[[^\]]*\]|[^:/?#]*)", url.replace("://", "//"))
    name = (found[1] if found else "").strip("[]")
    try:
        public = ip_address(name).is_global
    except ValueError:
        public = name not in ("localhost", "")
    if public:
        yield name


def _unless_public(match: re.Match[str]) -> str:
    try:
        return HIDDEN if ip_address(match[0]).is_global else match[0]
    except ValueError:
        return match[0]


def read_text(path: Path) -> str:
    """Return the text of a file; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")[:MAX_CONFIG_CHARS]
    except OSError:
        return ""
