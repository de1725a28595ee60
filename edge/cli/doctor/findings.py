"""Targets and results of the doctor's checks, written for a person: a mark, words, and below the remedy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.cli.doctor.child import run
from edge.cli.output import wrapped
from edge.config import SYSTEM
from edge.device.systemd_host import NAME
from edge.errors import BearAlarmError, OptionError
from edge.files import ENVIRONMENT, JOURNAL, SERVICE, state_folder

if TYPE_CHECKING:
    from edge.settings import Camera, Settings


State = Literal["fine", "doubt", "broken", "unknown"]

NAME_WIDTH = 16
MARKS: Mapping[State, str] = {"fine": "✓", "doubt": "?", "broken": "✗", "unknown": "·"}
PREFIXES: Mapping[State, str] = {"fine": "", "doubt": "in doubt: ", "broken": "BROKEN: ", "unknown": ""}
COLOURS: Mapping[State, str] = {"fine": "32", "doubt": "33", "broken": "1;31", "unknown": "2"}  # ANSI


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str  # short, as a heading: "camera yard"
    state: State  # "unknown": it could not be looked at, which is no fault
    words: str  # what was seen, one sentence without a full stop; never a secret
    todo: str = ""  # what to do; empty where there is nothing to do
    group: str = ""  # what it belongs to: "Cameras"


def fine(name: str, words: str, todo: str = "") -> CheckResult:
    """Report what works."""
    return CheckResult(name, "fine", words, todo)


def doubt(name: str, words: str, todo: str) -> CheckResult:
    """Report that the alarm works, but not as well or not as surely as it should."""
    return CheckResult(name, "doubt", words, todo)


def broken(name: str, words: str, todo: str) -> CheckResult:
    """Report that the alarm cannot work so, or cannot notify."""
    return CheckResult(name, "broken", words, todo)


def unknown(name: str, words: str, todo: str = "") -> CheckResult:
    """Report what could not be looked at, or what this machine has not."""
    return CheckResult(name, "unknown", words, todo)


def split_todo(sentence: str, otherwise: str) -> tuple[str, str]:
    """Split what is wrong from what to do, which our errors have in one sentence with a semicolon."""
    what, _, todo = sentence.partition("; ")
    return what, todo or otherwise


def verdict(findings: Sequence[CheckResult]) -> str:
    """Return the result in one line: how many are broken or in doubt and which; "All is well." where none is."""
    wrong = [each for each in findings if each.state == "broken"]
    doubted = [each for each in findings if each.state == "doubt"]
    if not wrong and not doubted:
        unseen = sum(each.state == "unknown" and bool(each.todo) for each in findings)
        things = "one thing" if unseen == 1 else f"{unseen} things"
        return f"Nothing is wrong; {things} could not be looked at." if unseen else "All is well."
    counts = [f"{len(each)} {word}" for each, word in ((wrong, "broken"), (doubted, "in doubt")) if each]
    named = list(dict.fromkeys(each.name for each in (*wrong, *doubted)))
    return f"{', '.join(counts)}: {', '.join(named)}."


def lines_of(finding: CheckResult, width: int, *, colour: bool) -> list[str]:
    """Write the lines of one finding, at most ``width`` characters wide where words allow it."""
    mark = MARKS[finding.state]
    if colour:
        mark = f"\033[{COLOURS[finding.state]}m{mark}\033[0m"
    beside = max(NAME_WIDTH, len(finding.name) + 2)
    indent = " " * (4 + NAME_WIDTH)
    words = f"{finding.name:<{beside}}{PREFIXES[finding.state]}{finding.words}"
    first, *more = wrapped(words, max(width - 4, 40), "", " " * NAME_WIDTH)
    lines = [f"  {mark} {first}", *(f"    {line}" for line in more)]
    if finding.todo:
        lines += wrapped(f"→ {finding.todo}", max(width, 44), indent, f"{indent}  ")
    return lines


ASK_S = 5.0  # for systemctl
UNIT = Path("etc/systemd/system/bear-alarm.service")  # below the root


@dataclass(frozen=True)
class Target:
    """One device. ``root`` is where its /sys, /proc, /etc and /dev are looked for, which tests have of their own."""

    settings: Settings
    config: Path | None = None  # the file the settings are from
    mistakes: tuple[str, ...] = ()  # what is wrong in that file, a sentence each; the settings are the defaults then
    sources: tuple[Camera, ...] = ()  # named on the command line: tried instead of the configured cameras
    try_cameras: bool = True
    given_state: Path | None = None
    root: Path = Path("/")

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Return those to try."""
        return self.sources or self.settings.cameras

    @property
    def has_service(self) -> bool:
        """Return whether the systemd unit is installed here."""
        return (self.root / UNIT).is_file()

    @property
    def state(self) -> Path:
        """Find the state folder of the alarm: the one named, the config's, the service's, or this user's own.

        Raises OptionError where there is none.
        """
        if self.given_state or self.settings.state:
            return state_folder(self.given_state or self.settings.state)
        asked = any(os.environ.get(name) for name in (ENVIRONMENT, "STATE_DIRECTORY"))
        service = self.root / SERVICE.relative_to("/")
        try:
            own = state_folder()
        except OptionError:
            if not self.has_service:
                raise
            return service
        return service if self.has_service and not asked and not (own / JOURNAL).exists() else own

    @property
    def evidence(self) -> Path:
        """Return the folder of evidence, there or not. Raises OptionError where there is no state folder."""
        named = self.settings.evidence.folder
        if named:
            return named.expanduser().absolute()
        return self.state / "evidence" if self.has_service else Path("evidence").absolute()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variable of the service's environment that names where an older version kept its chosen model."""
        served = self.has_service and self.config in (None, SYSTEM)
        return {"XDG_CONFIG_HOME": str(self.root / "etc")} if served else {}

    @property
    def alarm_runs(self) -> bool:
        """Return whether an alarm runs here now: on that state folder, as its lock shows, or as the service."""
        from edge.record.run import watching_run

        try:
            if watching_run(self.state):
                return True
        except BearAlarmError:
            pass
        # Its folder, and so its lock, is closed to other users.
        try:
            return self.has_service and run(["systemctl", "is-active", "--quiet", NAME], ASK_S).code == 0
        except OSError:
            return False
