"""A machine to put a service on: files in a folder of the test's, and a systemd that does what it is told on paper."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.device.systemd import install
from edge.device.systemd_host import NAME, UNIT, Account, Host, Program, ProgramResult, run
from edge.settings import Settings

ROOT = sys.platform != "win32" and os.geteuid() == 0
RESTART = "systemctl restart --no-block bear-alarm.service"
RUNS = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "StatusText": "watching 2 cameras: yard = bins",
    "NRestarts": "0",
    "ExecMainStatus": "0",
    "MainPID": "4711",
    "ActiveEnterTimestampMonotonic": "1000000000",
    "WatchdogUSec": "1min",
    "WatchdogTimestampMonotonic": "8187000000",
    "NeedDaemonReload": "no",
    "FragmentPath": "/etc/systemd/system/bear-alarm.service",
    "MemoryCurrent": str(212 * 2**20),
}
ABSENT = RUNS | {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": "", "FragmentPath": ""}


@dataclass
class Machine:
    """Answers as its programs would, and remembers what was asked of it."""

    root: Path
    account: Account | None = None
    groups: set[str] = field(default_factory=lambda: {"video", "audio"})
    shows: list[dict[str, str]] = field(default_factory=lambda: [RUNS])  # one after another; the last stays
    fails: dict[str, ProgramResult] = field(default_factory=dict)  # by the program's first two words
    real_reading: bool = False  # ask the kernel what another user may read
    asked: list[tuple[str, ...]] = field(default_factory=list)
    now_s: float = 8_199.0
    mount_points: list[Path] = field(default_factory=list)
    late: bool = False  # nothing is started yet, whatever was asked

    def __post_init__(self) -> None:
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/bear-alarm").mkdir(parents=True, exist_ok=True)
        self.config = self.root / "etc/bear-alarm/config.yml"
        self.config.write_text("cameras: {}\n")

    def __call__(self, words: Sequence[str], *, account: Account | None = None) -> ProgramResult:
        """Return what a program answers."""
        if account is not None:
            return run(words, account=account) if self.real_reading else ProgramResult(0)
        self.asked.append(tuple(words))
        failed = self.fails.get(" ".join(words[:2])) or self.fails.get(words[0])
        if failed:
            return failed
        if words[0] == "useradd":
            self.account = Account(os.geteuid() or 990, os.getegid() or 990)
            self.groups.add(NAME)
        elif words[0] == "userdel":
            self.account = None
        elif tuple(words[:2]) == ("systemctl", "show"):
            before = RESTART not in self.did  # what it shows is what the last start makes of it
            shown = self.shows[0] if len(self.shows) == 1 or before else self.shows.pop(0)
            shown = shown | {"InvocationID": "0" * 32 if self.late else f"{self.did.count(RESTART):032x}"}
            return ProgramResult(0, "".join(f"{name}={value}\n" for name, value in shown.items()))
        elif words[0] == "journalctl":
            return ProgramResult(0, "2026-11-24T03:12:07+01:00 hive bear-alarm[4711]: yard: bear\n")
        return ProgramResult(0)

    @property
    def host(self) -> Host:
        """It, as the service's rooms see it."""
        return Host(
            root=self.root, run=self, find_account=lambda _: self.account, has_group=self.groups.__contains__,
            platform="linux", is_root=True, private=(), home=(self.root / "home",),
            mount_points=lambda: self.mount_points, monotonic=lambda: self.now_s, sleep=self._pass,
        )  # fmt: skip

    def _pass(self, seconds: float) -> None:
        self.now_s += seconds

    @property
    def did(self) -> list[str]:
        """Return what was done to it, without what was only asked."""
        return [" ".join(words) for words in self.asked if words[1] != "show" and words[0] != "journalctl"]

    @property
    def unit(self) -> str:
        """The unit file it has got."""
        return (self.root / "etc/systemd/system" / UNIT).read_text()


def program(folder: Path) -> Program:
    """A program that can be started, but does nothing."""
    script = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return Program((str(script),), Path(sys.executable), (folder,))


def installed(machine: Machine, settings: Settings | None = None, **more: Any) -> list[str]:
    """Return what `service install` prints on it."""
    printed: list[str] = []
    install(
        machine.host,
        program(machine.root / "opt"),
        machine.config,
        settings or Settings(),
        report=printed.append,
        **more,
    )
    return printed
