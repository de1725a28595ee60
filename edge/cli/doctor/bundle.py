"""Write a zip for a bug report: the findings and what a helper far away needs to know, without secrets."""

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

from edge.cli.doctor import model, packages
from edge.cli.doctor.child import run
from edge.cli.doctor.findings import CheckResult
from edge.cli.doctor.redactor import Redactor, names_of_device, read_text, secrets_of_device
from edge.cli.doctor.target import Target
from edge.cli.output import json_text
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
        {key: redactor.line(words, versions=each.group == packages.GROUP) for key, words in asdict(each).items()}
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
    card = model.tried(target).answer
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
