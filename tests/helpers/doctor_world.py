"""A device for the doctor to look at: a root folder of its own, and its findings by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge.cli.doctor.findings import CheckResult, Target
from edge.settings import Settings


def put(root: Path, **files: str) -> Path:
    """Small files such as the kernel makes; ``__`` in a name stands for /."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def by_name(findings: Iterable[CheckResult]) -> dict[str, CheckResult]:
    """The findings by what they are of; the worst of several."""
    order = ("fine", "unknown", "doubt", "broken")
    found: dict[str, CheckResult] = {}
    for each in findings:
        if each.name not in found or order.index(each.state) >= order.index(found[each.name].state):
            found[each.name] = each
    return found


def states(findings: Iterable[CheckResult]) -> dict[str, str]:
    """Return how each of them is."""
    return {name: each.state for name, each in by_name(findings).items()}


def device(root: Path, **more: object) -> Target:
    """A device whose files lie in ``root`` and whose state folder is in it."""
    more.setdefault("settings", Settings())
    return Target(root=root, given_state=root / "state", **more)  # type: ignore[arg-type]
