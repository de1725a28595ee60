"""The machine that a systemd service is installed on, and the state of the service there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.device import sensors
from edge.errors import BearAlarmError
from edge.files import SERVICE
from edge.local_time import lasting

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


# State of the service, from systemd and its log, for people and machines.


START_WAIT_S = 30.0
START_POLL_S = 0.5
PROPERTIES = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "StatusText", "NRestarts", "ExecMainStatus",
    "MainPID", "ActiveEnterTimestampMonotonic", "WatchdogUSec", "WatchdogTimestampMonotonic", "NeedDaemonReload",
    "FragmentPath", "MemoryCurrent", "InvocationID",
)  # fmt: skip
LOG_LINES = 5
LABEL_CHARS = 12  # of a line's first column
ACTIVE, INACTIVE, MISSING = 0, 3, 4  # exit codes, as `systemctl status` has them
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
ENDS = {
    "exit-code": "it ended with exit code {code}",
    "watchdog": "it hung, and was ended",
    "timeout": "it took too long, and was ended",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "oom-kill": "it was ended, for memory was short",
    "start-limit-hit": "it failed too often",
}

UP = ("active", "reloading", "refreshing")


@dataclass(frozen=True)
class State:
    """State of the service by systemd. Ages are seconds."""

    installed: bool
    enabled: bool  # started at boot
    active: str  # active, reloading, activating, deactivating, inactive, failed
    sub: str  # running, auto-restart, start, dead, …
    result: str  # of its last end: success, exit-code, watchdog, timeout, signal, …
    exit_status: int | None  # of its last end
    said: str  # its own status text
    restarts: int  # by systemd, since it was last started by hand or at boot
    pid: int | None
    active_s: float | None  # since it is active
    watchdog_s: float | None  # it must be fed within so many seconds; None: there is no watchdog
    fed_s: float | None  # since it was fed
    memory_mb: float | None
    outdated: bool  # the unit file was changed, and systemd has not read it again
    path: str  # of the unit file
    start: str  # names its last start; another one has another
    log: tuple[str, ...] = ()  # the newest last

    @property
    def up(self) -> bool:
        """Return whether the alarm runs."""
        return self.active in UP

    @property
    def code(self) -> int:
        """Return the exit code for it: 0 runs, 3 does not, 4 is not installed."""
        return ACTIVE if self.up else INACTIVE if self.installed else MISSING

    def facts(self) -> dict[str, object]:
        """Return all of it for machines."""
        return {"schema_version": 1, "kind": "service"} | asdict(self)


def ask(host: Host, *, lines: int = LOG_LINES) -> State:
    """Ask systemd how it is now. Raises ServiceError where systemctl does not answer."""
    out = host.do("systemctl", "show", UNIT, f"--property={','.join(PROPERTIES)}").out
    properties = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    now = host.monotonic()

    def age_s(name: str) -> float | None:
        at = _number(properties.get(name))
        return max(now - at / 1e6, 0.0) if at else None

    installed = properties.get("LoadState") not in (None, "", "not-found")
    memory = _number(properties.get("MemoryCurrent"))
    status = _number(properties.get("ExecMainStatus"))
    up = properties.get("ActiveState") in UP
    return State(
        installed=installed,
        enabled=properties.get("UnitFileState") == "enabled",
        active=properties.get("ActiveState", "inactive"),
        sub=properties.get("SubState", "dead"),
        result=properties.get("Result", ""),
        exit_status=None if status is None else int(status),
        said=properties.get("StatusText", ""),
        restarts=int(_number(properties.get("NRestarts")) or 0),
        pid=int(_number(properties.get("MainPID")) or 0) or None,
        active_s=age_s("ActiveEnterTimestampMonotonic") if up else None,
        watchdog_s=span_s(properties.get("WatchdogUSec", "")),
        fed_s=age_s("WatchdogTimestampMonotonic") if up else None,
        memory_mb=None if memory is None or memory >= 2**63 else memory / 2**20,
        outdated=properties.get("NeedDaemonReload") == "yes",
        path=properties.get("FragmentPath", ""),
        start=properties.get("InvocationID", ""),
        log=_log(host, lines) if installed and lines else (),
    )


def started(host: Host, before: State, *, wait_s: float = START_WAIT_S) -> State:
    """Wait until a start later than ``before`` runs or has failed, or for ``wait_s``; return how it is then."""
    until = host.monotonic() + wait_s
    while True:
        now = ask(host, lines=0)
        settled = now.start != before.start and (now.up or now.active == "failed" or now.restarts)
        if settled or host.monotonic() >= until:
            return now
        host.sleep(START_POLL_S)


def span_s(words: str) -> float | None:
    """Read seconds from a time as systemd writes it, such as ``1min 30s``; None for 0, infinity and what is no time."""
    total = 0.0
    for part in words.split():
        figure = part.rstrip("abcdefghijklmnopqrstuvwxyz")
        scale, number = UNITS_S.get(part[len(figure) :]), _number(figure)
        if scale is None or number is None:
            return None
        total += number * scale
    return total or None


def _log(host: Host, lines: int) -> tuple[str, ...]:
    done = host.run(["journalctl", f"--unit={NAME}", f"--lines={lines}", "--no-pager", "--quiet", "--output=short-iso"])
    if done.code:
        return ()
    return tuple(line for line in done.out.splitlines() if line.strip())[-lines:]


def _number(words: str | None) -> float | None:
    """Read a figure; None for ``[not set]`` and the like."""
    try:
        return float(words or "")
    except ValueError:
        return None


def shown(state: State) -> str:
    """Write it for a person: one screen."""
    if not state.installed:
        return f"{NAME} is not installed as a service; `sudo {NAME} service install` does it."
    boot = "starts at boot" if state.enabled else f"does not start at boot: sudo systemctl enable {NAME}"
    lines = [_line("service", f"{_running(state)}; {boot}")]
    if state.said:
        lines.append(_line("says", state.said))
    if last := ended(state):
        lines.append(_line("last end", last))
    times = "once" if state.restarts == 1 else f"{state.restarts} times"
    lines.append(_line("restarts", f"{times if state.restarts else 'none'} since it was last started by hand or boot"))
    if state.up:
        lines.append(_line("watchdog", _watchdog(state)))
        memory = f", {state.memory_mb:.0f} MB of memory" if state.memory_mb is not None else ""
        lines.append(_line("process", f"{state.pid}{memory}"))
    lines.append(_line("unit", f"{state.path}{'; it was changed: `sudo systemctl daemon-reload`' * state.outdated}"))
    lines.append(_line("events", f"sudo {NAME} events --state {SERVICE}"))
    if state.log:
        lines += ["", f"The log's end; all of it: journalctl -u {NAME}", *(f"  {line}" for line in state.log)]
    else:
        lines += ["", f"Its log shows nothing to this user; try `sudo journalctl -u {NAME}`."]
    return "\n".join(lines)


def _line(label: str, words: str) -> str:
    return f"{label:<{LABEL_CHARS}}{words}"


def _running(state: State) -> str:
    if state.up:
        lasts = f" for {lasting(state.active_s)}" if state.active_s is not None else ""
        return f"runs{lasts}{' and is reading its configuration' * (state.active != 'active')}"
    if state.sub.startswith("auto-restart"):
        return "does not run, and is started again in a moment"
    if state.active == "activating":
        return "is starting"
    if state.active == "deactivating":
        return "is ending"
    return f"does not run{' (failed)' * (state.active == 'failed')}; start it: sudo systemctl start {NAME}"


def ended(state: State) -> str:
    """Return how it ended last, where that was no ordinary end; else ""."""
    return ENDS[state.result].format(code=state.exit_status) if state.result in ENDS else ""


def _watchdog(state: State) -> str:
    if state.watchdog_s is None:
        return "none"
    fed = f"fed {lasting(state.fed_s)} ago; " if state.fed_s is not None else ""
    return f"{fed}after {state.watchdog_s:.0f} s without, it is ended and started again"
