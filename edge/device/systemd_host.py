"""Machine that a systemd service is installed on: its paths, users and programs. A test makes one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.device import sensors
from edge.errors import BearAlarmError

NAME = "bear-alarm"  # of the service, its user and its folders
UNIT = f"{NAME}.service"
GROUPS = ("video", "gpio", "audio")  # cameras, relays, loudspeaker: those this machine has
NOBODY = 65534  # a user with no rights but those of everybody
# A worn card gives 1 MB/s, and what the alarm needs is 150 MB; systemctl takes its time as well.
PROGRAM_LIMIT_S = 300.0


class ServiceError(BearAlarmError, RuntimeError):
    """The service cannot be installed, shown or removed as things are."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the kernel counts it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # and those it belongs to besides


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """Exit code and output of a program."""

    code: int
    out: str = ""
    err: str = ""


def run(words: Sequence[str], *, account: Account | None = None) -> ProgramResult:
    """Run a program to its end, with a bare environment as ``account`` where one is given. 127 where there is none."""
    as_other = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)} if account else {}
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"} if account else None
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=PROGRAM_LIMIT_S, check=False, env=env,
            stdin=subprocess.DEVNULL, cwd="/" if account else None, **as_other,  # type: ignore[call-overload]
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ProgramResult(124, err=f"it took longer than {PROGRAM_LIMIT_S:g} s")
    except OSError as error:
        return ProgramResult(127, err=f"{error.strerror}")
    return ProgramResult(done.returncode, done.stdout, done.stderr)


def find_account(name: str) -> Account | None:
    """Find the user of this name, with its groups and those the service adds; None where there is none."""
    import grp
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {group.gr_gid for group in grp.getgrall() if name in group.gr_mem or group.gr_name in GROUPS}
    return Account(found.pw_uid, found.pw_gid, tuple(sorted(groups)))


def has_group(name: str) -> bool:
    """Look for a group of this name."""
    import grp

    return any(group.gr_name == name for group in grp.getgrall())


@dataclass(frozen=True)
class Host:
    """Machine to install on: its paths, and how to run programs there."""

    root: Path = Path("/")
    run: Callable[..., ProgramResult] = run
    find_account: Callable[[str], Account | None] = find_account
    has_group: Callable[[str], bool] = has_group
    platform: str = sys.platform
    is_root: bool = os.name == "posix" and os.geteuid() == 0
    private: tuple[Path, ...] = (Path("/tmp"), Path("/var/tmp"))  # the service has its own of these
    home: tuple[Path, ...] = (Path("/home"), Path("/root"), Path("/run/user"))  # which it does not see
    mount_points: Callable[[], list[Path]] = lambda: [each.folder for each in sensors.mounts()]
    monotonic: Callable[[], float] = time.monotonic  # seconds
    sleep: Callable[[float], None] = time.sleep

    def at(self, path: Path | str) -> Path:
        """Return where a path of that machine is found on this one."""
        return self.root / str(path).lstrip("/") if self.root != Path("/") else Path(path)

    @property
    def unit_path(self) -> Path:
        """Return where the unit file lies."""
        return self.at(f"/etc/systemd/system/{UNIT}")

    @property
    def account(self) -> Account:
        """Return the service's user; where it is not made yet, one who may do what everybody may."""
        return self.find_account(NAME) or Account(NOBODY, NOBODY)

    def do(self, *words: str) -> ProgramResult:
        """Run a program that has to succeed. Raises ServiceError with its words."""
        done = self.run(words)
        if done.code:
            output = " ".join((done.err or done.out).split()) or f"exit code {done.code}"
            raise ServiceError(f"`{' '.join(words)}` did not work: {output}")
        return done


@dataclass(frozen=True)
class Program:
    """Program line that starts this bear-alarm, and its place."""

    command: tuple[str, ...]  # the first word is an absolute path
    python: Path  # the interpreter
    folders: tuple[Path, ...]  # the environment, the Python it was made of, the package

    @property
    def shown(self) -> str:
        """Return its command, as a person would type it."""
        return " ".join(f"'{word}'" if " " in word else word for word in self.command)


def this_program() -> Program:
    """Return the program that runs now."""
    python = Path(sys.executable)
    script = Path(sysconfig.get_path("scripts")) / NAME
    command = (str(script),) if script.is_file() else (str(python), "-m", "edge")
    folders = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[1])
    return Program(command, python, tuple(dict.fromkeys(folders)))
