"""The files and folders a configuration names, which the service's user must be able to read or write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.filling import SECRETS
from edge.service import CONFIG, NAME, STATE, ServiceError
from edge.service.access import closed_by, unreadable, unwritable
from edge.service.host import Host
from edge.settings import Settings


@dataclass(frozen=True)
class Named:
    """Absolute paths."""

    reads: tuple[Path, ...]  # files and folders
    writes: tuple[Path, ...]  # folders, outside of the service's own
    secret: tuple[Path, ...]  # of those it reads: what may hold passwords


def named(settings: Settings, config: Path) -> Named:
    """What is named; a sound's own name, a stream and a device are no files."""
    alerts, kept = settings.alerts, settings.evidence
    sources = [word for each in settings.cameras for word in (each.source, each.motion_source) if word]
    words = [settings.model, *alerts.sounds, alerts.deterrent, *sources]
    secret = [config, *(each for each in [config.with_name(SECRETS)] if each.exists())]
    reads = [*secret, *(Path(word) for word in words if word and _is_file(word))]
    if alerts.mqtt and alerts.mqtt.ca:
        reads.append(alerts.mqtt.ca)
    files = [settings.trace, Path(alerts.events) if alerts.events and alerts.events != "-" else None]
    folders = [settings.state, kept.folder if kept.keep else None, *(each.parent for each in files if each)]
    writes = [each for each in folders if each and not (each == STATE or each.is_relative_to(STATE))]
    return Named(tuple(dict.fromkeys(reads)), tuple(dict.fromkeys(writes)), tuple(secret))


def _is_file(word: str) -> bool:
    """Whether a word names a file or folder of this machine: absolute, as the configuration makes its paths."""
    return word.startswith("/") and not word.startswith("/dev/")


def check_named(host: Host, found: Named, ours: tuple[Path, ...]) -> None:
    """Raises ServiceError for what the service's user cannot use; ``ours`` gets its rights from us. Only for root."""
    account = host.account
    for path in (*found.reads, *found.writes):
        if any(path.is_relative_to(each) for each in host.private):
            raise ServiceError(f"{path}: the service has a folder for temporary files of its own; move this elsewhere")
    if ours and (gate := closed_by(host, account, ours[0])) != ours[0].resolve():
        raise ServiceError(f"{gate} is closed to the user {NAME}; let everybody enter it: sudo chmod a+x '{gate}'")
    for path in unreadable(host, account, [each for each in found.reads if each not in ours]):
        gate = closed_by(host, account, path) if path.exists() else path
        if not path.exists():
            raise ServiceError(f"{path}: no such file, but the configuration names it")
        if gate == path.resolve() and path in found.secret:
            raise ServiceError(
                f"{path} cannot be read by the user {NAME}; put the configuration, and {SECRETS} where there is one, "
                f"into {CONFIG.parent}, where the service and root alone can read them"
            )
        if gate == path.resolve():
            raise ServiceError(f"{path} cannot be read by the user {NAME}; let everybody: sudo chmod a+rX '{path}'")
        raise ServiceError(
            f"{path} cannot be read by the user {NAME}, for {gate} is closed to others; put it into /etc/{NAME} and "
            "name it there"
        )
    for path in unwritable(host, account, found.writes):
        if path.exists() and (gate := closed_by(host, account, path)) != path.resolve():
            raise ServiceError(
                f"{path} cannot be written by the user {NAME}, for {gate} is closed to others; name a folder elsewhere"
            )
        if host.find_account(NAME) is None:
            continue  # it cannot own a folder yet; asked again once it can
        raise ServiceError(
            f"{path} cannot be written by the user {NAME}; give it to that user: "
            f"sudo install -d -o {NAME} -g {NAME} '{path}'"
        )


def under_home(host: Host, *paths: Path) -> bool:
    """Whether one of these lies where a service ordinarily does not look."""
    return any(path.resolve().is_relative_to(home) for path in paths for home in host.home)
