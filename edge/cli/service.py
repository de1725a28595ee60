"""``bear-alarm service``: start the alarm at boot and restart it after any failure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.help_page import command_group
from edge.cli.output import JsonOpt, print_json
from edge.config import find_config, load_config
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.device.systemd_host import Host


app = command_group(no_args_is_help=True, help="Start at boot and restart after any failure.")

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
            help="Let it reboot the machine when nothing else brings its cameras back (default: the "
            "configuration's reboot).",
        ),
    ] = None,
    dry_run: DryRunOpt = False,
    print_: Annotated[bool, typer.Option("--print", help="Print the unit file; do nothing.")] = False,
) -> None:
    """Install the alarm as a service of systemd and start it; on an installed one, update and restart it.

    Everything is checked before anything is done: the configuration, and whether the service's own user can read what
    it needs. Its events are shown by `bear-alarm events --state /var/lib/bear-alarm`.
    """
    from edge.device import systemd
    from edge.device.systemd import unit
    from edge.device.systemd_host import this_program
    from edge.settings import Settings

    host, program, path = machine(), this_program(), _config(config)
    if print_:
        settings = load_config(path) if path else Settings()
        print(unit(systemd.plan(host, program, path or systemd.CONFIG, settings, reboot=reboot)), end="")
        return
    systemd.need_systemd(host)
    if path is None:
        raise systemd.missing_config(program)
    if not dry_run:
        words = ["service", "install", *(["--config", str(path)] if config else [])]
        words += [] if reboot is None else ["--reboot" if reboot else "--no-reboot"]
        systemd.need_root(host, program, words)
    settings = load_config(path)
    systemd.check_cameras(path, settings)
    print(f"its configuration: {path}")
    systemd.install(host, program, path, settings, reboot=reboot, dry_run=dry_run)


@app.command()
def status(as_json: JsonOpt = False) -> None:
    """Show how the service is. Exit code 0: it runs; 3: it does not; 4: it is not installed."""
    from edge.device.systemd import need_systemd
    from edge.device.systemd_host import ask, shown

    host = machine()
    need_systemd(host)
    state = ask(host)
    if as_json:
        print_json(state.facts())
    else:
        print(shown(state))
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
    from edge.device import systemd
    from edge.device.systemd_host import this_program

    host = machine()
    systemd.need_systemd(host)
    if not dry_run:
        systemd.need_root(host, this_program(), ["service", "uninstall", *["--purge"] * purge, *["--yes"] * yes])
    if purge and not yes and not dry_run:
        if not sys.stdin.isatty():
            raise OptionError("--purge removes every event and picture it kept; give --yes as well if that is meant")
        print("This removes every event and picture the service kept, and its configuration. ", end="")
        if not typer.confirm("Is that meant?"):
            raise OptionError("nothing was removed")
    systemd.uninstall(host, purge=purge, dry_run=dry_run)


def machine() -> Host:
    """Return the one this runs on."""
    from edge.device.systemd_host import Host

    return Host()


def _config(given: Path | None) -> Path | None:
    """Find the service's configuration: the one named, the service's own, else the one ``watch`` would take here."""
    from edge.device.systemd import CONFIG

    if given is None and _there(CONFIG):
        return CONFIG
    found = find_config(given)
    return None if found is None else found.expanduser().absolute()


def _there(path: Path) -> bool:
    """Return whether it is there, or may be: reading it raises the error."""
    try:
        return path.is_file()
    except OSError:
        return True
