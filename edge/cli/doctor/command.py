"""``bear-alarm doctor``: what is fine, in doubt or broken on this device, and what to do."""

from __future__ import annotations

import logging
import os
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from edge.alert.redact import scrub
from edge.background import DeadlineError, call_with_deadline
from edge.cli.doctor.findings import CheckResult, Target, broken, fine, lines_of, unknown, verdict
from edge.cli.output import JsonOpt, line_width, print_json
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.settings import Camera, Settings


log = logging.getLogger(__name__)

NEEDED = ("numpy", "pydantic", "pyyaml", "psutil")  # by the doctor too
MAX_COLUMNS = 110


def doctor(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Cameras to try instead of the configured ones, as `watch` takes them."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help="Config to look at (default: $BEAR_ALARM_CONFIG, ./bear-alarm.yml or /etc/bear-alarm/config.yml).",
        ),
    ] = None,
    state: Annotated[Path | None, typer.Option(readable=False, help="Folder of the alarm's journal.")] = None,
    no_camera: Annotated[bool, typer.Option("--no-camera", help="Try no camera.")] = False,
    as_json: JsonOpt = False,
    bundle: Annotated[
        Path | None, typer.Option(help="Also write a zip for a bug report, without secrets and pictures.")
    ] = None,
) -> None:
    """Check this device: packages, model, cameras, board, clock, disk, alerts and the service.

    Makes no noise, switches and sends nothing, and works beside a running alarm. Exit code 0: nothing is broken (some
    things may be in doubt); 1: something is; 2: an option or the config's path is wrong.
    """
    from edge.cli.doctor.software import check_first
    from edge.config import find_config

    path = find_config(config)
    if bundle:
        check_place(bundle)
    found: list[CheckResult] = []
    target = None
    report = _Progress(silent=as_json)
    with quiet():
        for finding in check_first():
            found.append(finding)
            report(finding)
        if not any(each.state == "broken" and each.name in NEEDED for each in found):
            target = admitted(source or [], path, state, try_cameras=not no_camera)
            for finding in run_checks(target, all_checks()):
                found.append(finding)
                report(finding)
    if not target:
        log.warning("Nothing else can be looked at until that is mended.")
        if bundle:
            log.warning("%s is not written, which needs that too: send these lines instead.", bundle)
    if as_json:
        findings = [asdict(each) for each in found]
        print_json({"schema_version": 1, "kind": "doctor", "verdict": verdict(found), "findings": findings})
    else:
        print(f"\n{verdict(found)}")
    if bundle and target:
        packed(bundle, target, found)
    raise typer.Exit(1 if any(each.state == "broken" for each in found) else 0)


def admitted(source: list[str], config: Path | None, state: Path | None, *, try_cameras: bool) -> Target:
    """Return the device with its config's settings; with the defaults where the config has mistakes."""
    from edge.config import load_config
    from edge.errors import ConfigError
    from edge.settings import Settings

    settings = Settings()
    mistakes: tuple[str, ...] = ()
    if config:
        try:
            settings = load_config(config)
        except ConfigError as error:
            mistakes = tuple(error.lines)
    return Target(settings, config, mistakes, tuple(_cameras(source, settings)), try_cameras, state)


def _cameras(source: list[str], settings: Settings) -> Iterator[Camera]:
    """List the cameras named on the command line, each called as `watch` calls it. Raises OptionError as that does."""
    from edge.cli.doctor.software import imported
    from edge.cli.options import named, names
    from edge.settings import Camera

    own = {each.name: each for each in settings.cameras}
    others = [word for word in source if word not in own]
    # Naming them as `watch` does brings OpenCV, which may be what kills or fails.
    called = iter(names(others) if others and imported("cv2").code == 0 else map(str, range(1, len(others) + 1)))
    for word in source:
        if word in own:
            yield own[word]
        else:
            yield Camera(next(called), named(word)[1])


class _Progress:
    """Prints each finding as it comes, under its group's heading."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._group = ""
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, finding: CheckResult) -> None:
        """Print one."""
        if self._silent:
            return
        if finding.group != self._group:
            print(f"{'' if not self._group else chr(10)}{finding.group}")
            self._group = finding.group
        for line in lines_of(finding, line_width(MAX_COLUMNS), colour=self._colour):
            print(line, flush=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the log: the findings have what the parts log while they are tried."""
    ours = logging.getLogger("edge")
    before = ours.level
    if before > logging.DEBUG:
        ours.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ours.setLevel(before)


def check_place(path: Path) -> None:
    """Raise OptionError where the bundle may not be put there."""
    if path.suffix.lower() != ".zip":
        raise OptionError(f"{path}: a bundle is a zip; name it something.zip")
    if path.is_dir() or (path.exists() and not _is_bundle(path)):
        raise OptionError(f"{path}: exists and is not a bundle of the doctor's; name another file")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"{path}: its folder is not there; make it, or name another")


def _is_bundle(path: Path) -> bool:
    """Return whether it is a bundle, which may be replaced."""
    try:
        with zipfile.ZipFile(path) as file:
            return "findings.json" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def packed(path: Path, target: Target, found: list[CheckResult]) -> None:
    """Write the bundle, and list its files."""
    from edge.cli.doctor.bundle import write

    log.info("%s holds, without secrets:", path)
    for name, size, what in write(path, target, found):
        log.info("  %-16s %7d bytes  %s", name, size, what)
    log.info("Look before you send it.")


# The checks: each within its time, and none ends the others.


LIMIT_S = 30.0
OUR_FAULT = "report it, with `bear-alarm doctor --bundle report.zip`"


class Check(NamedTuple):
    """One thing to look at, and how long that may take."""

    group: str
    name: str
    look: Callable[[Target], Iterable[CheckResult]]
    limit_s: float = LIMIT_S  # until its next finding


def all_checks() -> tuple[Check, ...]:
    """List what is looked at; imported here, for numpy may be missing."""
    from edge.cli.doctor import alerts, cameras, keys, machine, page, service, software

    return (
        Check(software.GROUP, "packages", software.check_packages, software.IMPORT_S + 5),
        Check("Config", "config", check_config),
        Check("Config", "secrets", service.check_secrets),
        Check("Model", "model", software.check_model, software.MODEL_S + 5),
        Check("Model", "new models", keys.check_new_models),
        Check("Model", "private keys", keys.check_private_keys),
        Check("Cameras", "cameras", cameras.check_cameras, cameras.WITHIN_S + 5),
        Check("Cameras", "drift", cameras.check_drift),
        Check("Board", "board", machine.check_board),
        Check("Board", "power", machine.check_power),
        Check("Board", "clock", machine.check_clock),
        Check("Board", "network", machine.check_network),
        Check("Memory of events", "disk", machine.check_disk),
        Check("Memory of events", "state folder", machine.check_state),
        Check("Memory of events", "evidence", machine.check_evidence),
        Check("Alerts", "sounds", alerts.check_sounds),
        Check("Alerts", "pins", alerts.check_pins),
        Check("Alerts", "commands", alerts.check_commands),
        Check("Alerts", "mqtt", alerts.check_mqtt),
        Check("Alerts", "webhook", alerts.check_webhook),
        Check("Alerts", "notify", alerts.check_people),
        Check("Alerts", "heartbeat", alerts.check_heartbeat),
        Check("Alerts", "who is notified", check_anyone),
        Check("Alerts", "stages", alerts.check_stages),
        Check("Page", "page", page.check_page),
        Check("Service", "permissions", service.check_groups),
        Check("Service", "service", service.check_service),
    )


def check_config(target: Target) -> Iterator[CheckResult]:
    """Check the config file: every mistake in it is a finding."""
    if target.config is None:
        todo = "make one: bear-alarm config init"
        yield unknown("config", "none was found, so only what needs none was looked at", todo)
        return
    for mistake in target.mistakes:
        yield broken("config", mistake, "correct it, and try: bear-alarm config check")
    if not target.mistakes:
        names = ", ".join(each.name for each in target.settings.cameras) or "none"
        yield fine("config", f"{target.config} is understood; cameras: {names}")


def check_anyone(target: Target) -> Iterator[CheckResult]:
    """Check that a config names at least one way to notify."""
    if target.config and not target.mistakes and not target.settings.alerts.anyone:
        yield broken("who is notified", "nobody: only the terminal", "name a sound, a relay or somebody in the config")


def run_checks(target: Target, checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Yield every finding as soon as it is there."""
    for check in checks:
        for finding in _within_its_time(check, target):
            yield replace(finding, group=check.group)


def _within_its_time(check: Check, target: Target) -> Iterator[CheckResult]:
    """Await each finding for so long: a disk or a name server that does not answer delays nothing but its own line."""

    def looked() -> Iterator[CheckResult]:
        yield from check.look(target)

    findings = looked()
    while True:
        try:
            finding = call_with_deadline(lambda: next(findings, None), check.limit_s, f"doctor {check.name}")
        except DeadlineError:
            yield unknown(check.name, f"gave no answer within {check.limit_s:g} s", "try again when the machine rests")
            return
        except (Exception, SystemExit) as error:  # whatever it is: the other checks go on
            log.debug("a check failed", exc_info=True)
            words = scrub(f"{type(error).__name__}: {error}")
            yield broken(check.name, f"could not be checked because of an internal error ({words})", OUR_FAULT)
            return
        if finding is None:
            return
        yield finding
