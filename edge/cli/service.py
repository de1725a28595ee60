"""``bear-alarm service``: start the alarm at boot and restart it after any failure."""

from __future__ import annotations

import json
import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.device.systemd import Host, Program
    from edge.settings import Settings


log = logging.getLogger(__name__)


class Kind(StrEnum):
    """Who starts it."""

    systemd = "systemd"
    launchd = "launchd"
    windows = "windows"


NATIVE = {"darwin": Kind.launchd, "win32": Kind.windows}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Start at boot and restart after any failure.",
)

DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Show the steps; do nothing.")]


@app.command()
def install(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Its configuration (default: /etc/bear-alarm/config.yml if it is there)."
        ),
    ] = None,
    reboot: Annotated[
        bool | None,
        typer.Option(
            "--reboot/--no-reboot",
            help="Let it reboot the machine when nothing else brings its cameras back (default: as the "
            "configuration says).",
        ),
    ] = None,
    dry_run: DryRunOpt = False,
    print_: Annotated[bool, typer.Option("--print", help="Print the file the system would get; do nothing.")] = False,
    kind: Annotated[Kind | None, typer.Option(help="Who starts it (default: who does on this system).")] = None,
) -> None:
    """Install the alarm as a service and start it; on an installed one, update and restart it.

    Everything is checked before anything is done: the configuration, and whether the service's own user can read what
    it needs. Its events are shown by `bear-alarm events --state /var/lib/bear-alarm`.
    """
    from edge.device.systemd import (
        check_cameras,
        check_machine,
        homes,
        missing_config,
        need_root,
        this_program,
        unused_choice,
    )
    from edge.device.systemd import install as do

    host = machine()
    native = NATIVE.get(host.platform, Kind.systemd)
    kind = kind or native
    if kind is not native and not print_:
        raise OptionError(f"--kind {kind.value}: this system is not of that kind; give --print to see the file")
    program = this_program()
    path = _config(config)
    if print_:
        print(_file(kind, host, program, path, reboot), end="")
        return
    if kind is not Kind.systemd:
        if path is None:
            raise OptionError(f"a service needs a configuration; run: {program.shown} config init, and name it here")
        _elsewhere(kind, program, path, dry_run)
        return
    check_machine(host)
    if path is None:
        raise missing_config(program)
    if not dry_run:
        words = ["service", "install", *(["--config", str(path)] if config else [])]
        words += [] if reboot is None else ["--reboot" if reboot else "--no-reboot"]
        need_root(host, program, words)
    settings = _settings(path)
    check_cameras(path, settings)
    print(f"its configuration: {path}")
    do(host, program, path, settings, reboot=reboot, dry_run=dry_run)
    if note := unused_choice(settings, homes()):
        log.warning("%s", note)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Show how the service is. Exit code 0: it runs; 3: it does not; 4: it is not installed."""
    from edge.device.systemd import ask, need_systemd, shown

    host = machine()
    _need_systemd_kind(host)
    need_systemd(host)
    state = ask(host)
    print(json.dumps(state.facts(), indent=2, ensure_ascii=False) if as_json else shown(state))
    raise typer.Exit(state.code)


@app.command()
def uninstall(
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove its journal, evidence, configuration and user as well.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether --purge is meant.")] = False,
    dry_run: DryRunOpt = False,
) -> None:
    """Stop the service and remove it. What it recorded, its configuration and its user stay."""
    from edge.device.systemd import need_root, this_program
    from edge.device.systemd import uninstall as do

    host = machine()
    _need_systemd_kind(host)
    if not dry_run:
        need_root(host, this_program(), ["service", "uninstall", *["--purge"] * purge, *["--yes"] * yes])
    if purge and not yes and not dry_run:
        if not sys.stdin.isatty():
            raise OptionError("--purge removes every event and picture it kept; give --yes as well if that is meant")
        print("This removes every event and picture the service kept, and its configuration. ", end="")
        if not typer.confirm("Is that meant?"):
            raise OptionError("nothing was removed")
    do(host, purge=purge, dry_run=dry_run)


def machine() -> Host:
    """The one this runs on."""
    from edge.device.systemd import Host

    return Host()


def _config(given: Path | None) -> Path | None:
    """The service's configuration: the one named, the service's own, else the one ``watch`` would take here."""
    from edge.config import find_config
    from edge.device.systemd import CONFIG

    if given is None and _there(CONFIG):
        return CONFIG
    found = find_config(given)
    return None if found is None else found.expanduser().absolute()


def _there(path: Path) -> bool:
    """Whether it is there, or may be: what may not be looked at is said when it is read."""
    try:
        return path.is_file()
    except OSError:
        return True


def _settings(path: Path) -> Settings:
    from edge.config import load_config

    return load_config(path)


def _file(kind: Kind, host: Host, program: Program, path: Path | None, reboot: bool | None) -> str:
    """What the system would be handed; without a configuration, for the one it would look for."""
    from edge.device import other_systems
    from edge.device.systemd import CONFIG, plan, unit
    from edge.settings import Settings

    words = [*program.command, "watch", "--config", str(path or CONFIG)]
    if kind is Kind.launchd:
        return other_systems.agent(words, Path.home())
    if kind is Kind.windows:
        return other_systems.task(words, (path or CONFIG).parent, _windows_user())
    return unit(plan(host, program, path or CONFIG, _settings(path) if path else Settings(), reboot=reboot))


def _elsewhere(kind: Kind, program: Program, path: Path, dry_run: bool) -> None:
    """Write the file of launchd or of the Task Scheduler, and say how to hand it over."""
    from edge.device import other_systems
    from edge.files import replace_whole, state_folder

    _settings(path)
    words = [*program.command, "watch", "--config", str(path)]
    if kind is Kind.launchd:
        target, text = other_systems.agent_path(Path.home()), other_systems.agent(words, Path.home()).encode()
    else:
        target, text = (
            state_folder() / "task.xml",
            other_systems.task(words, path.parent, _windows_user()).encode("utf-16"),
        )
    if not dry_run:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(target, text)
    print("\n".join([f"{'would be done: ' if dry_run else ''}{target} written", *_lines(target, kind)]))


def _windows_user() -> str | None:
    """Who is logged in, as Windows names him; None elsewhere."""
    domain, name = os.environ.get("USERDOMAIN"), os.environ.get("USERNAME")
    return f"{domain}\\{name}" if domain and name else None


def _need_systemd_kind(host: Host) -> None:
    """Raises OptionError on macOS and Windows, with the lines that do it there."""
    from edge.device import other_systems

    kind = NATIVE.get(host.platform)
    if kind is None:
        return
    lines = _lines(other_systems.agent_path(Path.home()) if kind is Kind.launchd else Path("task.xml"), kind)
    raise OptionError("that is for systemd, on Linux; on this system it is:\n" + "\n".join(f"  {x}" for x in lines))


def _lines(path: Path, kind: Kind) -> list[str]:
    """How the file is handed to the system, and how the system shows and ends it."""
    from edge.device import other_systems

    if kind is Kind.windows:
        return other_systems.task_help(path)
    return other_systems.agent_help(path, os.getuid() if hasattr(os, "getuid") else 0)
