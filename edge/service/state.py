"""How the service is, as systemd and its log tell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from edge.service import NAME, UNIT
from edge.service.host import Host

ASKED = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "StatusText", "NRestarts", "ExecMainStatus",
    "MainPID", "ActiveEnterTimestampMonotonic", "WatchdogUSec", "WatchdogTimestampMonotonic", "NeedDaemonReload",
    "FragmentPath", "MemoryCurrent", "InvocationID",
)  # fmt: skip
LOG_LINES = 5
WAIT_S = 30.0
LOOK_S = 0.5
ACTIVE, INACTIVE, MISSING = 0, 3, 4  # exit codes, as `systemctl status` has them
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class State:
    """What systemd knows of it. Ages are seconds."""

    installed: bool
    enabled: bool  # started at boot
    active: str  # active, reloading, activating, deactivating, inactive, failed
    sub: str  # running, auto-restart, start, dead, …
    result: str  # of its last end: success, exit-code, watchdog, timeout, signal, …
    exit_status: int | None  # of its last end
    said: str  # its own words on how it is
    restarts: int  # by systemd, since it was last started by hand or at boot
    pid: int | None
    active_s: float | None  # since it is active
    watchdog_s: float | None  # it must be fed within so many seconds; None: nobody waits
    fed_s: float | None  # since it was fed
    memory_mb: float | None
    outdated: bool  # the unit file was changed, and systemd has not read it again
    path: str  # of the unit file
    start: str  # names its last start; another one has another
    log: tuple[str, ...] = ()  # the newest last

    @property
    def up(self) -> bool:
        """Whether the alarm runs."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def code(self) -> int:
        """The exit code that says the same: 0 runs, 3 does not, 4 is not installed."""
        return ACTIVE if self.up else INACTIVE if self.installed else MISSING

    def facts(self) -> dict[str, object]:
        """For machines."""
        return {"schema_version": 1, "kind": "service"} | asdict(self)


def ask(host: Host, *, lines: int = LOG_LINES) -> State:
    """How it is now. Raises ServiceError where systemctl does not answer."""
    out = host.do("systemctl", "show", UNIT, f"--property={','.join(ASKED)}").out
    told = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    now = host.monotonic()

    def age_s(name: str) -> float | None:
        at = _number(told.get(name))
        return max(now - at / 1e6, 0.0) if at else None

    installed = told.get("LoadState") not in (None, "", "not-found")
    memory = _number(told.get("MemoryCurrent"))
    status = _number(told.get("ExecMainStatus"))
    up = told.get("ActiveState") in ("active", "reloading", "refreshing")
    return State(
        installed=installed,
        enabled=told.get("UnitFileState") == "enabled",
        active=told.get("ActiveState", "inactive"),
        sub=told.get("SubState", "dead"),
        result=told.get("Result", ""),
        exit_status=None if status is None else int(status),
        said=told.get("StatusText", ""),
        restarts=int(_number(told.get("NRestarts")) or 0),
        pid=int(_number(told.get("MainPID")) or 0) or None,
        active_s=age_s("ActiveEnterTimestampMonotonic") if up else None,
        watchdog_s=span_s(told.get("WatchdogUSec", "")),
        fed_s=age_s("WatchdogTimestampMonotonic") if up else None,
        memory_mb=None if memory is None or memory >= 2**63 else memory / 2**20,
        outdated=told.get("NeedDaemonReload") == "yes",
        path=told.get("FragmentPath", ""),
        start=told.get("InvocationID", ""),
        log=_log(host, lines) if installed and lines else (),
    )


def started(host: Host, before: State, *, wait_s: float = WAIT_S) -> State:
    """How it is once a start later than ``before`` runs or has failed, or ``wait_s`` have passed."""
    until = host.monotonic() + wait_s
    while True:
        now = ask(host, lines=0)
        settled = now.start != before.start and (now.up or now.active == "failed" or now.restarts)
        if settled or host.monotonic() >= until:
            return now
        host.sleep(LOOK_S)


def span_s(words: str) -> float | None:
    """Seconds of a time as systemd writes it, such as ``1min 30s``; None for 0, infinity and what is no time."""
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
    """The figure, and None for ``[not set]`` and the like."""
    try:
        return float(words or "")
    except ValueError:
        return None
