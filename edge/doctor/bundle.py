"""A zip for a bug report: what the doctor found and what somebody far away needs to know, without secrets."""

from __future__ import annotations

import io
import json
import platform
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from edge import __version__
from edge.device.sensors import about, pairs
from edge.device.systemd import NAME
from edge.doctor.checks import PACKAGES
from edge.doctor.child import python, run
from edge.doctor.finding import Finding
from edge.doctor.model import WITHIN_S
from edge.doctor.patient import Patient
from edge.doctor.redact import Redactor, names_of_device, secrets_of_device
from edge.errors import BearAlarmError
from edge.files import JOURNAL, replace_whole

EVENTS, LOG_LINES = 200, 500
LOG_S = 20.0
CPU = ("model name", "Hardware", "Revision", "Model", "CPU implementer", "CPU part", "CPU architecture")  # no Serial


def write(path: Path, patient: Patient, findings: Sequence[Finding]) -> list[tuple[str, int, str]]:
    """Write it; each file in it with its bytes and what it is. Raises OptionError where it cannot be written."""
    redactor = Redactor(secrets_of_device(patient.settings, patient.config), names_of_device())
    buffer, contents = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, what, text in _files(patient, findings, redactor):
            data = text.encode("utf-8", "replace")
            file.writestr(name, data)
            contents.append((name, len(data), what))
    replace_whole(path, buffer.getvalue())
    return contents


def _files(patient: Patient, findings: Sequence[Finding], redactor: Redactor) -> Iterator[tuple[str, str, str]]:
    found = [
        {key: redactor.line(words, versions=each.group == PACKAGES) for key, words in asdict(each).items()}
        for each in findings
    ]
    yield "findings.json", "what the doctor found", _json(found)
    yield "versions.txt", "bear-alarm, Python and every package", _versions()
    yield "machine.json", "board, processor, memory and system", _json(redactor.anything(_machine(patient)))
    if patient.config:
        try:
            text = patient.config.read_text(errors="replace")
        except OSError as error:
            text = f"# cannot be read ({error.strerror})"
        yield "config.yml", "your config: keys, numbers and ${NAMES}, without addresses", redactor.config(text)
    events = _events(patient, redactor)
    if events:
        yield "events.jsonl", f"the last {len(events)} events, no pictures", "\n".join(events) + "\n"
    log = _log(redactor)
    if log:
        yield "service.log", f"the last {len(log)} lines of the service's log", "\n".join(log) + "\n"
    card = python("edge.doctor.try_model", patient.settings.model, WITHIN_S, patient.environment).answer
    if isinstance(card, dict) and "card" in card:
        yield "model-card.json", "the card of the model in use", _json(redactor.anything(card["card"]))


def _versions() -> str:
    packages = sorted({f"{each.name}=={each.version}" for each in metadata.distributions() if each.name}, key=str.lower)
    return "\n".join([f"bear-alarm {__version__}", f"Python {sys.version}", platform.platform(), "", *packages]) + "\n"


def _machine(patient: Patient) -> dict[str, Any]:
    found = pairs(patient.root / "proc/cpuinfo")
    return asdict(about(patient.root)) | {"cpuinfo": {key: found[key] for key in CPU if key in found}}


def _events(patient: Patient, redactor: Redactor) -> list[str]:
    """The newest, the oldest of them first; nothing where there is no journal that could be read."""
    from edge.record.history import ReadOnly

    try:
        with ReadOnly(patient.state / JOURNAL) as journal:
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
