"""The machine a service is put on: its files, users and programs. A test gives one of its own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.service import GROUPS, NAME, ServiceError

LIMIT_S = 300.0  # a worn card gives 1 MB/s, and what the alarm needs is 150 MB; systemctl takes its time as well
PEOPLE = 1000  # users from this number on are people
NOBODY = 65534  # a user who may do what everybody may


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the kernel counts it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # and those it belongs to besides


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended, and what it said."""

    code: int
    out: str = ""
    err: str = ""


def run(words: Sequence[str], *, account: Account | None = None) -> Done:
    """Run a program to its end, with a bare environment as ``account`` where one is given. 127 where there is none."""
    as_other = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)} if account else {}
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"} if account else None
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False, env=env,
            stdin=subprocess.DEVNULL, cwd="/" if account else None, **as_other,  # type: ignore[call-overload]
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Done(124, err=f"it took longer than {LIMIT_S:g} s")
    except OSError as error:
        return Done(127, err=f"{error.strerror}")
    return Done(done.returncode, done.stdout, done.stderr)


def find_account(name: str) -> Account | None:
    """The user of this name, with the groups it has and the service adds; None where there is none."""
    import grp
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = {group.gr_gid for group in grp.getgrall() if name in group.gr_mem or group.gr_name in GROUPS}
    return Account(found.pw_uid, found.pw_gid, tuple(sorted(groups)))


def has_group(name: str) -> bool:
    """Whether this machine has a group of this name."""
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


@dataclass(frozen=True)
class Host:
    """Where everything is found, and how things are done there."""

    root: Path = Path("/")
    run: Callable[..., Done] = run
    find_account: Callable[[str], Account | None] = find_account
    has_group: Callable[[str], bool] = has_group
    platform: str = sys.platform
    bits: int = 8 * struct.calcsize("P")  # of this Python's addresses
    is_root: bool = os.name == "posix" and os.geteuid() == 0
    private: tuple[Path, ...] = (Path("/tmp"), Path("/var/tmp"))  # the service has its own of these
    home: tuple[Path, ...] = (Path("/home"), Path("/root"), Path("/run/user"))  # which it does not see
    monotonic: Callable[[], float] = time.monotonic  # seconds
    sleep: Callable[[float], None] = time.sleep

    def at(self, path: Path | str) -> Path:
        """Where a path of that machine is found on this one."""
        return self.root / str(path).lstrip("/") if self.root != Path("/") else Path(path)

    @property
    def unit_path(self) -> Path:
        """Where the unit file lies."""
        return self.at(f"/etc/systemd/system/{NAME}.service")

    @property
    def account(self) -> Account:
        """The service's user; where it is not made yet, one who may do what everybody may."""
        return self.find_account(NAME) or Account(NOBODY, NOBODY)

    def do(self, *words: str) -> Done:
        """Run a program that has to succeed. Raises ServiceError with its words."""
        done = self.run(words)
        if done.code:
            said = " ".join((done.err or done.out).split()) or f"exit code {done.code}"
            raise ServiceError(f"`{' '.join(words)}` did not work: {said}")
        return done


def need_systemd(host: Host) -> None:
    """Raises ServiceError where no systemd runs."""
    if host.platform != "linux" or not host.at("/run/systemd/system").is_dir():
        raise ServiceError(
            "no systemd runs on this machine (/run/systemd/system is missing), so nothing would start the service; "
            "for a machine where one does, `bear-alarm service install --print` shows the unit file"
        )
