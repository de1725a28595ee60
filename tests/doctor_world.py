"""A device for the doctor to look at: a root folder of its own, and its findings by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge.cli.doctor.findings import Finding
from edge.cli.doctor.target import Patient


def put(root: Path, **files: str) -> Path:
    """Small files such as the kernel makes; ``__`` in a name stands for /."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The findings by what they are of; the worst of several."""
    order = ("fine", "unknown", "doubt", "broken")
    found: dict[str, Finding] = {}
    for each in findings:
        if each.name not in found or order.index(each.state) >= order.index(found[each.name].state):
            found[each.name] = each
    return found


def states(findings: Iterable[Finding]) -> dict[str, str]:
    """How each of them is."""
    return {name: each.state for name, each in by_name(findings).items()}


def device(root: Path, **more: object) -> Patient:
    """A device whose files lie in ``root`` and whose state folder is in it."""
    return Patient(root=root, given_state=root / "state", **more)  # type: ignore[arg-type]
