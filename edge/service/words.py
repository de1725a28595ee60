"""The service's state as a person reads it: one screen."""

from __future__ import annotations

from edge.service import NAME, STATE, UNIT
from edge.service.state import State

WIDEST = 200  # characters of a line of the log
LABEL = 12  # characters before what a line says
ENDS = {
    "exit-code": "it ended with exit code {code}",
    "watchdog": "it hung, and was ended",
    "timeout": "it took too long, and was ended",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "oom-kill": "it was ended, for memory was short",
    "start-limit-hit": "it failed too often",
}


def shown(state: State) -> str:
    """All of it."""
    if not state.installed:
        return f"{NAME} is not installed as a service; `sudo {NAME} service install` does it."
    lines = [_line("service", f"{_running(state)}; {_boot(state)}")]
    if state.said:
        lines.append(_line("says", state.said))
    if ended := _ended(state):
        lines.append(_line("last end", ended))
    times = "once" if state.restarts == 1 else f"{state.restarts} times"
    lines.append(_line("restarts", f"{times if state.restarts else 'none'} since it was last started by hand or boot"))
    if state.up:
        lines.append(_line("watchdog", _watchdog(state)))
        memory = f", {state.memory_mb:.0f} MB of memory" if state.memory_mb is not None else ""
        lines.append(_line("process", f"{state.pid}{memory}"))
    lines.append(_line("unit", f"{state.path}{'; it was changed: `sudo systemctl daemon-reload`' * state.outdated}"))
    lines.append(_line("events", f"sudo {NAME} events --state {STATE}"))
    if state.log:
        lines += ["", f"The log's end; all of it: journalctl -u {NAME}", *(f"  {_short(line)}" for line in state.log)]
    else:
        lines += ["", f"Its log shows nothing to this user; try `sudo journalctl -u {NAME}`."]
    return "\n".join(lines)


def trouble(state: State) -> str:
    """One sentence on a service that does not come up."""
    why = _ended(state) or "it ended"
    return (
        f"{UNIT} is installed, but does not stay up: {why}; it is tried again every 5 s. "
        f"`journalctl -u {NAME} -n 30` says what is wrong"
    )


def lasting(seconds: float) -> str:
    """A time in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _line(label: str, words: str) -> str:
    return f"{label:<{LABEL}}{words}"


def _short(line: str) -> str:
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"


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


def _boot(state: State) -> str:
    return "starts at boot" if state.enabled else f"does not start at boot: sudo systemctl enable {NAME}"


def _ended(state: State) -> str:
    """How it ended last, where that was no ordinary end."""
    return ENDS[state.result].format(code=state.exit_status) if state.result in ENDS else ""


def _watchdog(state: State) -> str:
    if state.watchdog_s is None:
        return "none"
    fed = f"fed {lasting(state.fed_s)} ago; " if state.fed_s is not None else ""
    return f"{fed}after {state.watchdog_s:.0f} s without, it is ended and started again"
