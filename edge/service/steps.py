"""What installing and removing does, as steps that can be shown, done or both."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.config.filling import SECRETS
from edge.files import replace_whole
from edge.service import CONFIG, GROUPS, NAME, STATE, UNIT, ServiceError
from edge.service.host import PEOPLE, Host
from edge.service.named import check_named, named, under_home
from edge.service.program import Program
from edge.service.unit import Plan, unit
from edge.settings import Settings
from edge.watchdog.note import MOUNTS, mounted

BESIDE = (SECRETS, "model.onnx", "model.previous.onnx")  # the last two: `XDG_CONFIG_HOME=/etc … model use`
READABLE = 0o640  # by root, who changes it, and the service; it may hold passwords


@dataclass(frozen=True)
class Step:
    """One thing that is done, in words, as it reads when it is done."""

    words: str
    do: Callable[[], object]


def plan(host: Host, program: Program, config: Path, settings: Settings, *, reboot: bool | None = None) -> Plan:
    """What this machine's unit depends on. ``reboot`` None: as the configuration says."""
    found = named(settings, config)
    return Plan(
        program.command,
        config,
        groups=tuple(filter(host.has_group, GROUPS)),
        writes=found.writes,
        sees_home=under_home(host, *program.folders, *found.reads, *found.writes),
        reboot=settings.health.reboot if reboot is None else reboot,
    )


def ours(host: Host, config: Path) -> tuple[Path, ...]:
    """The files whose rights are set here: what lies in the service's folder, of which secrets must stay secret."""
    if config.parent != host.at(CONFIG).parent:
        return ()
    paths = (config, *(config.with_name(name) for name in BESIDE))
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def installing(host: Host, made: Plan, settings: Settings) -> list[Step]:
    """From nothing, or from an older service, to one that runs. What is right already is left out."""
    steps = []
    if host.find_account(NAME) is None:
        words = [
            "useradd", "--system", *(["--gid", NAME] if host.has_group(NAME) else ["--user-group"]),
            "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", NAME,
        ]  # fmt: skip
        steps.append(Step(f"user {NAME} made", lambda: host.do(*words)))
    kept = ours(host, made.config)
    for path in kept:
        if stat.S_IMODE(path.stat().st_mode) != READABLE or not _of_service(host, path):
            words_of = f"{path} can be read by root and the service alone"
            steps.append(Step(words_of, lambda path=path: _hand_to_service(host, path)))  # type: ignore[misc]
    found = named(settings, made.config)
    if found.writes:
        steps.append(Step("its folders can be written by the service", lambda: check_named(host, found, kept)))
    text = unit(made).encode()
    if not host.unit_path.is_file() or host.unit_path.read_bytes() != text:
        steps.append(Step(f"{host.unit_path} written", lambda: _write(host.unit_path, text)))
    steps += [
        Step("systemctl daemon-reload", lambda: host.do("systemctl", "daemon-reload")),
        Step("started at every boot from now on", lambda: host.do("systemctl", "enable", UNIT)),
        Step("started", lambda: host.do("systemctl", "restart", "--no-block", UNIT)),
    ]
    return steps


def removing(host: Host, *, purge: bool) -> list[Step]:
    """From a service to none. Its journal, evidence, configuration and user stay unless ``purge``.

    Raises ServiceError where it would empty a drive.
    """
    steps = []
    if purge:
        _check_drives(host)
    if host.unit_path.is_file():
        steps += [
            Step("stopped, and no longer started at boot", lambda: host.do("systemctl", "disable", "--now", UNIT)),
            Step(f"{host.unit_path} removed", host.unit_path.unlink),
            Step("systemctl daemon-reload", lambda: host.do("systemctl", "daemon-reload")),
            Step("its failures forgotten", lambda: host.run(["systemctl", "reset-failed", UNIT])),
        ]
    if purge:
        for folder in (host.at(STATE), host.at(CONFIG).parent, host.unit_path.with_name(f"{UNIT}.d")):
            if folder.is_dir() or folder.is_symlink():
                steps.append(Step(f"{folder} removed", lambda folder=folder: _remove(folder)))  # type: ignore[misc]
        if (account := host.find_account(NAME)) and account.uid < PEOPLE:  # somebody may be called so
            steps.append(Step(f"user {NAME} removed", lambda: host.do("userdel", NAME)))
    return steps


def _of_service(host: Host, path: Path) -> bool:
    account, found = host.find_account(NAME), path.stat()
    return account is not None and (found.st_uid, found.st_gid) == (0, account.gid)


def _hand_to_service(host: Host, path: Path) -> None:
    os.chown(path, 0, host.account.gid)
    path.chmod(READABLE)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, data)
    path.chmod(0o644)  # whatever the umask


def _check_drives(host: Host) -> None:
    """Raises ServiceError where a drive or another folder is mounted in what would be removed."""
    try:
        points = [point for point, _ in mounted(host.at(MOUNTS))]
    except OSError:
        return
    for point in points:
        if point.is_relative_to(STATE) or point.is_relative_to(CONFIG.parent):
            raise ServiceError(f"{point}: something is mounted there, and --purge would empty it; unmount it first")


def _remove(folder: Path) -> None:
    """A folder with all that is in it; of a link the link alone, for what it leads to may be shared."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
