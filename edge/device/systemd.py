"""The alarm as a systemd service: check what would stop it, install it, remove it.

Everything is checked before anything is changed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.config import SECRETS, SYSTEM
from edge.device.systemd_host import GROUPS, NAME, UNIT, Host, Program, ServiceError, State, ask, ended, started
from edge.device.watchdog import REBOOT
from edge.files import SERVICE, replace_whole
from edge.installing import origin
from edge.settings import Settings

CONFIG = SYSTEM  # /etc/bear-alarm/config.yml
STATE = SERVICE  # /var/lib/bear-alarm
ENVIRONMENT = Path("/opt/bear-alarm")  # where every user can read an environment
BESIDE = (SECRETS, "model.onnx", "model.previous.onnx")  # the last two: `model use` of an older version
READABLE_MODE = 0o640  # by root, who changes it, and the service; it may hold passwords
NEEDED_IMPORTS = "import cv2, numpy, onnxruntime, psutil, pydantic, sqlite3, ssl, typer, yaml, edge.watch"
MIN_PERSON_UID = 1000  # users from this number on are people

Report = Callable[[str], object]


# What would stop the service.


def need_systemd(host: Host) -> None:
    """Raise ServiceError where no systemd runs."""
    if host.platform != "linux" or not host.at("/run/systemd/system").is_dir():
        raise ServiceError(
            "no systemd runs on this machine (/run/systemd/system is missing), so nothing would start the service; "
            "for a machine where one does, `bear-alarm service install --print` shows the unit file; for macOS and "
            "Windows see docs/service.md"
        )


def need_root(host: Host, program: Program, words: Sequence[str]) -> None:
    """Raise ServiceError for every user but root, with the line to type: sudo does not know the user's PATH."""
    if not host.is_root:
        typed = " ".join(f"'{word}'" if " " in word else word for word in words)
        raise ServiceError(f"only root may do that; run: sudo {program.shown} {typed}")


def check_cameras(config: Path, settings: Settings) -> None:
    """Raise ServiceError for a configuration without a camera."""
    if not settings.cameras:
        raise ServiceError(f"{config}: it names no camera, so the service would have nothing to watch; name one")


def missing_config(program: Program, path: Path = CONFIG) -> ServiceError:
    """Return the error for a service without a configuration."""
    return ServiceError(
        f"{path}: a service needs a configuration, and there is none; run: sudo {program.shown} config init {path}"
    )


# The kernel is asked as the service's user, for modes alone do not decide (ACLs). Each script prints the numbers of the
# paths that are missing or may not be used as asked.
_ASK = 'n=0; for path; do {} || echo "$n"; n=$((n+1)); done'
READ = _ASK.format('{ test -r "$path" && { test ! -d "$path" || test -x "$path"; }; }')
WRITE = _ASK.format('{ test -w "$path" && test -x "$path"; }')
ENTER = _ASK.format('test -x "$path"')


def denied(host: Host, paths: Sequence[Path], script: str) -> list[Path]:
    """List the paths that the service's user may not READ, WRITE or ENTER. Only root may ask. Raises ServiceError."""
    if not paths:
        return []
    done = host.run(["/bin/sh", "-c", script, "sh", *map(str, paths)], account=host.account)
    if done.code:
        raise ServiceError(f"what other users may read cannot be asked here: {' '.join(done.err.split())}")
    return [paths[int(number)] for number in done.out.split()]


def closed_by(host: Host, path: Path) -> str:
    """Return in words which folder above a path keeps the service's user from it; "" where the path itself does."""
    for way in (path.absolute(), path.resolve()):  # a link's own folder, then its target's
        if closed := denied(host, list(reversed(way.parents)), ENTER):
            return f", for {closed[0]} is closed to others"
    return ""


def check_program(host: Host, program: Program) -> None:
    """Raise ServiceError where the service's user cannot run it, with the place where it can. Only root may ask."""
    for path in program.folders:
        if any(path.resolve().is_relative_to(each) for each in host.private):
            raise _unreadable_program(f"{path} is in a folder for temporary files, of which a service has its own")
    if missed := denied(host, [Path(program.command[0]), program.python, *program.folders], READ):
        raise _unreadable_program(f"{missed[0]} cannot be read by the user {NAME}{closed_by(host, missed[0])}")
    # Packages may lie in a home folder, or be readable by their owner alone.
    done = host.run([str(program.python), "-c", NEEDED_IMPORTS], account=host.account)
    if done.code:
        last = (done.err.strip().splitlines() or ["it ended without a word"])[-1]
        raise _unreadable_program(
            f"{program.python} does not find all it needs when the user {NAME} starts it ({last})"
        )


def _unreadable_program(why: str) -> ServiceError:
    """Return the refusal, and the lines that put the program where every user can read it."""
    return ServiceError(
        f"this bear-alarm cannot be a service where it lies: {why}; put one into {ENVIRONMENT}, where it can:\n"
        f"  sudo python3 -m venv {ENVIRONMENT}\n"
        f"  sudo {ENVIRONMENT}/bin/pip install '{_requirement()}'\n"
        f"  sudo {ENVIRONMENT}/bin/{NAME} service install"
    )


def _requirement() -> str:
    """Return what pip was given here, with the extra for pins where this environment has it."""
    extra = "[pi]" if importlib.util.find_spec("gpiozero") else ""
    return f"{origin()[-1]}{extra}"


def named(settings: Settings, config: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Collect the files and folders that the service's user must read, and the folders it must write; all absolute.

    A stream, a device and a built-in sound are no files; the service's own folder is not listed.
    """
    alerts, kept = settings.alerts, settings.evidence
    sources = [word for each in settings.cameras for word in (each.source, each.motion_source) if word]
    words = [settings.model, *alerts.sounds, alerts.deterrent, *sources]
    reads = [config, *(each for each in [config.with_name(SECRETS)] if each.exists())]
    reads += [Path(word) for word in words if word and word.startswith("/") and not word.startswith("/dev/")]
    if alerts.mqtt and alerts.mqtt.ca:
        reads.append(alerts.mqtt.ca)
    files = [settings.trace, Path(alerts.events) if alerts.events and alerts.events != "-" else None]
    folders = [settings.state, kept.folder if kept.keep else None, *(each.parent for each in files if each)]
    writes = [each for each in folders if each and not each.is_relative_to(STATE)]
    return tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes))


def stick_folders(settings: Settings) -> list[Path]:
    """Return the folders that are looked into for new models; they need not be there."""
    return [Path(each) for each in settings.updates.sources if each.startswith("/")]


def check_named(host: Host, settings: Settings, config: Path, ours: Sequence[Path]) -> None:
    """Raise ServiceError for what the service's user cannot use. Only root may ask.

    ``ours``: files that get their rights from the installation.
    """
    reads, writes = named(settings, config)
    for path in (*reads, *writes, *stick_folders(settings)):
        if any(path.is_relative_to(each) for each in host.private):
            raise ServiceError(f"{path}: the service has a folder for temporary files of its own; move this elsewhere")
    for folder in denied(host, list(dict.fromkeys(path.parent for path in ours)), ENTER):
        raise ServiceError(f"{folder} is closed to the user {NAME}; let every user enter it: sudo chmod a+x '{folder}'")
    for path in denied(host, [each for each in reads if each not in ours], READ):
        if not path.exists():
            raise ServiceError(f"{path}: no such file, but the configuration names it")
        raise ServiceError(
            f"{path} cannot be read by the user {NAME}{closed_by(host, path)}; put it into {CONFIG.parent} and name it "
            "there"  # never chmod: it may hold passwords
        )
    for path in denied(host, writes, WRITE):
        gate = closed_by(host, path) if path.exists() else ""
        if gate or host.find_account(NAME):  # a user that is not made yet cannot own a folder: it is asked again then
            raise ServiceError(
                f"{path} cannot be written by the user {NAME}{gate}; give a folder to that user: "
                f"sudo install -d -o {NAME} -g {NAME} '{'FOLDER' if gate else path}'"
            )


def plan(host: Host, program: Program, config: Path, settings: Settings, *, reboot: bool | None = None) -> InstallPlan:
    """Find what this machine's unit depends on. ``reboot`` None: as in the configuration."""
    reads, writes = named(settings, config)
    paths = [path.resolve() for path in (*program.folders, *reads, *writes, *stick_folders(settings))]
    return InstallPlan(
        program.command,
        config,
        groups=tuple(filter(host.has_group, GROUPS)),
        writes=writes,
        sees_home=any(path.is_relative_to(home) for path in paths for home in host.home),
        reboot=settings.health.reboot if reboot is None else reboot,
    )


# Install and remove, as steps that can be shown, done or both.


@dataclass(frozen=True)
class InstallStep:
    """One thing that is done, in words, as it reads when it is done."""

    words: str
    do: Callable[[], object]


def install(
    host: Host,
    program: Program,
    config: Path,
    settings: Settings,
    *,
    reboot: bool | None = None,
    dry_run: bool = False,
    report: Report = print,
) -> State | None:
    """Make it a service that runs, print each step, and return its state; None for a dry run. Raises ServiceError.

    On a machine that has it, write what has changed and restart the alarm.
    """
    need_systemd(host)
    if host.is_root:
        check_program(host, program)
        check_named(host, settings, config, ours(host, config))
    if reboot and not settings.health.reboot:
        report(f"note: the alarm asks for a reboot only where {config} sets it too (health: reboot: yes)")
    made = plan(host, program, config, settings, reboot=reboot)
    before = None if dry_run else ask(host, lines=0)
    _run_steps(install_steps(host, made, settings), dry_run, report)
    if before is None:
        if not host.is_root:
            report("Not looked at, for only root can: whether the service may read all it needs.")
        return None
    now = started(host, before)
    if now.up and now.start != before.start:
        report(f"it runs{f': {now.said}' if now.said else ''}")
    elif now.active == "failed" or now.restarts:
        raise ServiceError(
            f"{UNIT} is installed, but does not stay up: {ended(now) or 'it ended'}; it is tried again every 5 s. "
            f"`journalctl -u {NAME} -n 30` shows what is wrong"
        )
    else:
        report(f"it is still starting, which may take minutes from a slow card; look again: {NAME} service status")
    report(f"What happened, later: sudo {program.shown} events --state {settings.state or STATE}")
    return now


def ours(host: Host, config: Path) -> tuple[Path, ...]:
    """List the files whose rights are set here: those in the service's folder, whose secrets must stay secret."""
    if config.parent != host.at(CONFIG).parent:
        return ()
    paths = (config, *(config.with_name(name) for name in BESIDE))
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def install_steps(host: Host, made: InstallPlan, settings: Settings) -> list[InstallStep]:
    """List the steps from nothing, or from an older service, to one that runs, without what is right already."""
    steps = []
    if host.find_account(NAME) is None:
        words = [
            "useradd", "--system", *(["--gid", NAME] if host.has_group(NAME) else ["--user-group"]),
            "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", NAME,
        ]  # fmt: skip
        steps.append(InstallStep(f"user {NAME} made", lambda: host.do(*words)))
    kept = ours(host, made.config)
    for path in kept:
        if stat.S_IMODE(path.stat().st_mode) != READABLE_MODE or not _is_services(host, path):
            words_of = f"{path} can be read by root and the service alone"
            steps.append(InstallStep(words_of, lambda path=path: _hand_over(host, path)))  # type: ignore[misc]
    if made.writes:
        words_of = "its folders can be written by the service"
        steps.append(InstallStep(words_of, lambda: check_named(host, settings, made.config, kept)))
    text = unit(made).encode()
    if not host.unit_path.is_file() or host.unit_path.read_bytes() != text:
        steps.append(InstallStep(f"{host.unit_path} written", lambda: _write(host.unit_path, text)))
    return [
        *steps,
        InstallStep("systemctl daemon-reload", lambda: host.do("systemctl", "daemon-reload")),
        InstallStep("started at every boot from now on", lambda: host.do("systemctl", "enable", UNIT)),
        InstallStep("started", lambda: host.do("systemctl", "restart", "--no-block", UNIT)),
    ]


def _is_services(host: Host, path: Path) -> bool:
    account, found = host.find_account(NAME), path.stat()
    return account is not None and (found.st_uid, found.st_gid) == (0, account.gid)


def _hand_over(host: Host, path: Path) -> None:
    os.chown(path, 0, host.account.gid)
    path.chmod(READABLE_MODE)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, data)
    path.chmod(0o644)  # whatever the umask


def uninstall(host: Host, *, purge: bool = False, dry_run: bool = False, report: Report = print) -> None:
    """Remove the service, and print each step. Raises ServiceError."""
    need_systemd(host)
    steps = uninstall_steps(host, purge=purge)
    if not steps:
        report(f"{NAME} is not installed as a service; there is nothing to remove.")
        return
    _run_steps(steps, dry_run, report)
    if not purge:
        kept = [str(path) for path in (STATE, CONFIG.parent) if host.at(path).exists()]
        if kept:
            report(f"{' and '.join(kept)} stay as they are; with --purge they go too")


def uninstall_steps(host: Host, *, purge: bool) -> list[InstallStep]:
    """List the steps from a service to none. Journal, evidence, configuration and user stay unless ``purge``.

    Raises ServiceError where it would empty a drive.
    """
    steps = []
    if purge:
        _check_drives(host)
    if host.unit_path.is_file():
        stop = "stopped, and no longer started at boot"
        steps += [
            InstallStep(stop, lambda: host.do("systemctl", "disable", "--now", UNIT)),
            InstallStep(f"{host.unit_path} removed", host.unit_path.unlink),
            InstallStep("systemctl daemon-reload", lambda: host.do("systemctl", "daemon-reload")),
            InstallStep("its failures forgotten", lambda: host.run(["systemctl", "reset-failed", UNIT])),
        ]
    if purge:
        for folder in (host.at(STATE), host.at(CONFIG).parent, host.unit_path.with_name(f"{UNIT}.d")):
            if folder.is_symlink():  # what it leads to may be shared
                steps.append(InstallStep(f"{folder} removed", folder.unlink))
            elif folder.is_dir():
                steps.append(InstallStep(f"{folder} removed", lambda folder=folder: shutil.rmtree(folder)))  # type: ignore[misc]
        if (account := host.find_account(NAME)) and account.uid < MIN_PERSON_UID:  # a person may be called so
            steps.append(InstallStep(f"user {NAME} removed", lambda: host.do("userdel", NAME)))
    return steps


def _check_drives(host: Host) -> None:
    """Raise ServiceError where a drive or another folder is mounted in what would be removed."""
    for point in host.mount_points():
        if point.is_relative_to(STATE) or point.is_relative_to(CONFIG.parent):
            raise ServiceError(f"{point}: something is mounted there, and --purge would empty it; unmount it first")


def _run_steps(steps: Sequence[InstallStep], dry_run: bool, report: Report) -> None:
    for step in steps:
        try:
            if not dry_run:
                step.do()
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
            raise ServiceError(f"this could not be done: {step.words} ({why})") from None
        report(f"{'would be done: ' if dry_run else ''}{step.words}")


# The unit file, for systemd 252 (Debian 12) and newer.


# The shell is asked, for systemd cannot start a command for one exit code alone; + is: as root, outside of the fence.
REBOOTS = f"""
# Asked for with --reboot: the alarm ends with {REBOOT} where starting it again did not bring the cameras back.
ExecStopPost=+/bin/sh -c 'if [ "$$EXIT_CODE:$$EXIT_STATUS" = exited:{REBOOT} ]; then systemctl --no-block reboot; fi'
"""


@dataclass(frozen=True)
class InstallPlan:
    """Values that one machine's unit depends on."""

    program: tuple[str, ...]  # starts bear-alarm; the first word is an absolute path
    config: Path  # absolute
    groups: tuple[str, ...] = ()  # of the machine's, those its user joins: a missing one would keep it from starting
    writes: tuple[Path, ...] = ()  # folders outside of its own that it writes to
    sees_home: bool = False  # it has to read something under /home
    reboot: bool = False  # the machine, where nothing else helps


def unit(plan: InstallPlan) -> str:
    """Write the text of bear-alarm.service, for systemd 252 (Debian 12) and newer. Raises ServiceError."""
    groups = f"SupplementaryGroups={' '.join(plan.groups)}\n" if plan.groups else ""
    # The minus: a drive that is not there must not keep the alarm from starting.
    writes = "".join(f"ReadWritePaths={word(f'-{path}')}\n" for path in plan.writes)
    return f"""\
# Written by `bear-alarm service install`, which replaces it each time.
# Changes of your own belong into a file beside it: `sudo systemctl edit {NAME}`.
[Unit]
Description=Bear Alarm: sees bears and says so
# It waits for no network: an alarm that needs none must not hang on one.
After=network.target
# The kernel's names for cameras and sound cards are looked up below when the service starts, also where none is
# plugged in yet.
Wants=modprobe@videodev.service modprobe@mc.service modprobe@snd.service
After=modprobe@videodev.service modprobe@mc.service modprobe@snd.service
# However often it fails, it is started again.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command([*plan.program, "watch", "--config", str(plan.config)])}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
# Fed by the alarm while it looks, scores and every camera goes on; else it is ended here, and started again.
WatchdogSec=60
TimeoutAbortSec=10
# A slow card may take minutes to load everything; the alarm asks for more time while it gets on.
TimeoutStartSec=180
# It ends by itself within 30 s, whatever hangs.
TimeoutStopSec=45
# SIGTERM is for the alarm: it silences its players and ends its cameras itself, and lets a clip be finished.
KillMode=mixed
{REBOOTS if plan.reboot else ""}
# Memory short: the child that writes clips goes first, and the alarm goes on without it.
OOMScoreAdjust=-500
OOMPolicy=continue
Nice=-5

User={NAME}
Group={NAME}
{groups}UMask=0027
StateDirectory={NAME}
StateDirectoryMode=0750
RuntimeDirectory={NAME}
ConfigurationDirectory={NAME}
WorkingDirectory=%S/{NAME}
Environment=PYTHONUNBUFFERED=1
# Where it hangs and is ended by the watchdog, the log shows where.
Environment=PYTHONFAULTHANDLER=1
LimitCORE=0
# Where an older version kept the service's choice of a model: /etc/bear-alarm/model.onnx.
Environment=XDG_CONFIG_HOME=%E

# The devices it needs: cameras, a ribbon camera's memory, pins, sound, and the board's own health.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
DeviceAllow=char-gpiochip rw
DeviceAllow=char-alsa rw
DeviceAllow=/dev/vchiq rw
DeviceAllow=/dev/vcio rw

# Nothing else. These options are missing for a reason:
# ProtectClock= forbids adjtimex, also to ask whether the clock is right; ProcSubset=pid hides the board and its
# memory; PrivateDevices= hides the camera; MemoryDenyWriteExecute= would break a command of yours that makes code while
# it runs (node, java).
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
{writes}ProtectHome={"read-only" if plan.sees_home else "yes"}
PrivateTmp=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
# Netlink: names are looked up and cameras are found through it.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
# To ask whether the clock is right. Setting it needs a privilege, which it has not.
SystemCallFilter=adjtimex clock_adjtime

[Install]
WantedBy=multi-user.target
"""


def command(words: Sequence[str]) -> str:
    """Quote a command line for ExecStart=. The first word is an absolute path; $ is special in the others alone.

    Raises ServiceError for a program systemd would not start.
    """
    first, *more = words
    if set(first) & set("\"'\\"):
        raise ServiceError(f"{first}: systemd starts nothing whose path has a quote or a backslash in it; rename it")
    return " ".join([word(first), *(word(each).replace("$", "$$") for each in more)])


def word(text: str) -> str:
    """Quote one word of a setting. Raises ServiceError for line breaks and other control characters."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ServiceError(f"{text!r}: a service cannot name what has control characters in it; rename it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[A-Za-z0-9/._+=:,@-]+", text) else f'"{escaped}"'
