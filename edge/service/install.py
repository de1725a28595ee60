"""Installing: everything is checked first, then done step by step, then it is looked whether the alarm runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.service import CONFIG, NAME, STATE, ServiceError
from edge.service.host import Host, need_systemd
from edge.service.named import check_named, named
from edge.service.program import Program, check_program
from edge.service.state import State, ask, started
from edge.service.steps import Step, installing, ours, plan, removing
from edge.service.words import trouble
from edge.settings import Settings

Say = Callable[[str], object]


def need_root(host: Host, program: Program, words: Sequence[str]) -> None:
    """Raises ServiceError for everybody but root, with the line to type: sudo knows no PATH of ours."""
    if not host.is_root:
        typed = " ".join(f"'{word}'" if " " in word else word for word in words)
        raise ServiceError(f"only root may do that; run: sudo {program.shown} {typed}")


def check_machine(host: Host) -> None:
    """Raises ServiceError where no service can run."""
    need_systemd(host)
    if host.bits < 64:
        raise ServiceError(
            f"this is a {host.bits}-bit system, for which there is no onnxruntime; install the 64-bit Raspberry Pi OS"
        )


def check_cameras(config: Path, settings: Settings) -> None:
    """Raises ServiceError for a configuration without a camera: nobody would be there to name one."""
    if not settings.cameras:
        raise ServiceError(f"{config}: it names no camera, so the service would have nothing to watch; name one")


def missing_config(program: Program, path: Path = CONFIG) -> ServiceError:
    """The sentence on a service without a configuration."""
    return ServiceError(
        f"{path}: a service needs a configuration, and there is none; run: sudo {program.shown} config init {path}"
    )


def install(
    host: Host,
    program: Program,
    config: Path,
    settings: Settings,
    *,
    reboot: bool | None = None,
    dry_run: bool = False,
    say: Say = print,
) -> State | None:
    """Make it a service that runs, and say each step. How it is then; None for a dry run. Raises ServiceError.

    Again on a machine that has it, it writes the unit anew and starts the alarm again.
    """
    check_machine(host)
    if host.is_root:
        check_program(host, program)
        check_named(host, named(settings, config), ours(host, config))
    if reboot and not settings.health.reboot:
        say(f"note: the alarm asks for a reboot only where {config} says so too (health: reboot: yes)")
    made = plan(host, program, config, settings, reboot=reboot)
    before = None if dry_run else ask(host, lines=0)
    _walk(installing(host, made, settings), dry_run, say)
    if before is None:
        if not host.is_root:
            say("Not looked at, for only root can: whether the service may read all it needs.")
        return None
    now = started(host, before)
    if now.up and now.start != before.start:
        say(f"it runs{f': {now.said}' if now.said else ''}")
    elif now.active == "failed" or now.restarts:
        raise ServiceError(trouble(now))
    else:
        say(f"it is still starting, which may take minutes from a slow card; look again: {NAME} service status")
    say(f"What happened, later: sudo {program.shown} events --state {settings.state or STATE}")
    return now


def uninstall(host: Host, *, purge: bool = False, dry_run: bool = False, say: Say = print) -> None:
    """Take it away again, and say each step. Raises ServiceError."""
    need_systemd(host)
    steps = removing(host, purge=purge)
    if not steps:
        say(f"{NAME} is not installed as a service; there is nothing to remove.")
        return
    _walk(steps, dry_run, say)
    if not purge:
        kept = [str(path) for path in (STATE, CONFIG.parent) if host.at(path).exists()]
        if kept:
            say(f"{' and '.join(kept)} stay as they are; with --purge they go too")


def unused_choice(settings: Settings, homes: Sequence[Path]) -> str | None:
    """A note where whoever installs has chosen a model, which the service knows nothing of."""
    if settings.model or CONFIG.with_name("model.onnx").exists():
        return None
    for home in homes:
        chosen = home / ".config" / NAME / "model.onnx"
        try:
            there = chosen.is_file()
        except OSError:
            continue
        if there:
            return (
                f"The service does not use the model chosen by this user ({chosen}). To choose it for the service: "
                f"sudo XDG_CONFIG_HOME={CONFIG.parent.parent} {NAME} model use {chosen}"
            )
    return None


def homes() -> list[Path]:
    """The home folders of whoever types this: of the user sudo was called by, and of this one."""
    found = []
    if os.name == "posix" and (name := os.environ.get("SUDO_USER")):
        import pwd

        with contextlib.suppress(KeyError):
            found.append(Path(pwd.getpwnam(name).pw_dir))
    with contextlib.suppress(RuntimeError):
        found.append(Path.home())
    return found


def _walk(steps: Sequence[Step], dry_run: bool, say: Say) -> None:
    for step in steps:
        try:
            if not dry_run:
                step.do()
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
            raise ServiceError(f"this could not be done: {step.words} ({why})") from None
        say(f"{'would be done: ' if dry_run else ''}{step.words}")
