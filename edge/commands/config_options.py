"""Which config a command goes by: found where docs/configuration.md says, and named where it matters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.settings import Camera, Settings

log = logging.getLogger(__name__)

ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        help="Config file (default: $BEAR_ALARM_CONFIG, ./bear-alarm.yml or /etc/bear-alarm/config.yml, the first that "
        "exists). Options override the config file."
    ),
]


def config_for(given: Path | None, sources: Sequence[str] = ()) -> Path | None:
    """The config to go by, if any. Raises ConfigError for one that is named and not there.

    One that was only found is left aside, and that is said, where recorded sources are tried out: a demo must not call
    the neighbours.
    """
    import os

    from edge.config import ENVIRONMENT, find_config

    found = find_config(given)
    named = given is not None or bool(os.environ.get(ENVIRONMENT))
    if found and not named and sources and _recorded(sources, found):
        log.info("%s is left aside, for this is a recording; --config %s goes by it.", found, found)
        return None
    return found


def settings_of(path: Path | None) -> Settings:
    """What the config says, or the defaults where there is none. Raises ConfigError with everything wrong in it."""
    from edge.settings import Settings

    if path is None:
        return Settings()
    from edge.config import load_config

    return load_config(path)


def settings_at_hand() -> Settings:
    """What the config says, for a command that only looks at what an alarm has left; one that is no good is said."""
    from edge.errors import BearAlarmError
    from edge.settings import Settings

    try:
        return settings_of(config_for(None))
    except BearAlarmError as error:
        log.warning("%s\nGoing on without a config.", error)
        return Settings()


def configured(settings: Settings, word: str) -> Camera | None:
    """The camera of the config that a word on the command line names; a file of that name goes before it."""
    if Path(word).expanduser().exists():
        return None
    return next((camera for camera in settings.cameras if camera.name == word), None)


def _recorded(sources: Sequence[str], config: Path) -> bool:
    from edge.camera import is_live
    from edge.commands.watch_names import named

    words = [word for _, word in map(named, sources)]
    try:
        if any(is_live(word) for word in words):
            return False
    except (OSError, ValueError):  # what is no word for a source is said when it is opened
        return False
    return all(word == "demo" or Path(word).expanduser().exists() or "*" in word for word in words)
