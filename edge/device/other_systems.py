"""The same for macOS (launchd) and Windows (Task Scheduler): the file they want, and how it is handed to them."""

from __future__ import annotations

import plistlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from edge.device.systemd import NAME

LABEL = "bear-alarm"
TASK = "Bear Alarm"


def agent(words: Sequence[str], home: Path) -> str:
    """A launchd agent (property list, XML): started when this user logs in, and again whenever it ends."""
    log = home / "Library" / "Logs" / f"{NAME}.log"
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(words),
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 10,  # seconds between two starts
            "ProcessType": "Interactive",  # else macOS slows it down
            "EnvironmentVariables": {"PYTHONUNBUFFERED": "1"},
            "StandardOutPath": str(log),
            "StandardErrorPath": str(log),
        },
        sort_keys=False,
    ).decode()


def agent_path(home: Path) -> Path:
    """Where launchd looks for it."""
    return home / "Library" / "LaunchAgents" / f"{LABEL}.plist"


def agent_help(path: Path, user: int) -> list[str]:
    """The lines that start it, show it and end it."""
    return [
        f"launchctl bootstrap gui/{user} '{path}'     # start it, now and at each login",
        f"launchctl print gui/{user}/{LABEL}     # how it is",
        f"launchctl bootout gui/{user}/{LABEL}     # end it",
    ]


def task(words: Sequence[str], folder: Path, user: str | None = None) -> str:
    """A task of Windows' scheduler (XML): started when ``user`` logs in, and again within a minute of its end.

    ``user`` as DOMAIN\\NAME; None: whoever logs in, which only an administrator may ask for.
    """
    first, *more = words
    who = f"<UserId>{escape(user)}</UserId>" if user else ""
    # Started each minute, and not at all where it runs already: the scheduler takes no exit code for a failure.
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Bear Alarm: sees bears and says so</Description></RegistrationInfo>
  <Triggers>
    <LogonTrigger><Repetition><Interval>PT1M</Interval></Repetition><Enabled>true</Enabled>{who}</LogonTrigger>
  </Triggers>
  <Principals><Principal id="Author">{who}<LogonType>InteractiveToken</LogonType></Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(first)}</Command>
      <Arguments>{escape(subprocess.list2cmdline(more))}</Arguments>
      <WorkingDirectory>{escape(str(folder))}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""


def task_help(path: Path) -> list[str]:
    """The lines that start it, show it and end it."""
    return [
        f'schtasks /Create /TN "{TASK}" /XML "{path}"     # start it at each login',
        f'schtasks /Run /TN "{TASK}"     # and now',
        f'schtasks /Query /TN "{TASK}" /V /FO LIST     # how it is',
        f'schtasks /Delete /TN "{TASK}"     # remove it',
    ]
