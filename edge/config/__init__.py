"""One YAML file in which everything may be set and nothing must be; it becomes ``edge.settings.Settings``.

    composing  YAML as nodes, no deeper and larger than any config
    tree       every value as text, every key with its line
    filling    ${NAME} from the environment, systemd's credentials or secrets.yml
    shape      what may be set (pydantic), and kinds of values
    checks     what cannot be meant together
    making     the settings

It is found as --config, else $BEAR_ALARM_CONFIG, else ./bear-alarm.yml, else /etc/bear-alarm/config.yml.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError, ConfigProblem, OptionError

if TYPE_CHECKING:
    from edge.settings import Settings

__all__ = ["BESIDE", "ENVIRONMENT", "SYSTEM", "ConfigError", "ConfigProblem", "find_config", "load_config"]

log = logging.getLogger(__name__)

ENVIRONMENT = "BEAR_ALARM_CONFIG"
BESIDE = Path("bear-alarm.yml")  # in the working folder
SECRETS = "secrets.yml"  # beside the config
SYSTEM = Path("/etc/bear-alarm/config.yml")  # the service's


def find_config(given: Path | None = None) -> Path | None:
    """Where the config is: ``given``, else what the environment names, else one of the two usual places; else None.

    Raises OptionError where one is named that is not there.
    """
    for named, whence in ((given, "--config"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if named:
            if not _there(Path(named)):
                raise OptionError(
                    f"{named}: no such config ({whence}); `bear-alarm config init {named}` writes one to begin with"
                )
            return Path(named)
    for usual in (BESIDE, SYSTEM):
        other = usual.with_suffix(".yaml")
        if not _there(usual):
            if _there(other):
                log.warning("%s is not read: call it %s, or name it with --config", other, usual)
        elif usual == BESIDE or os.access(usual, os.R_OK) or _leads_nowhere(usual):
            return usual
        else:
            log.warning("%s is left aside: this user may not read it", usual)
    return None


def load_config(path: Path) -> Settings:
    """The settings in a config. Raises ConfigError, which says all that is wrong with it; warnings are logged."""
    from edge.config.load import load

    loaded = load(path)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings


def _there(path: Path) -> bool:
    """Whether something is there, or may be: what may not be looked at, or leads nowhere, is said when it is read."""
    try:
        return path.expanduser().exists() or _leads_nowhere(path.expanduser())
    except (OSError, RuntimeError, ValueError):
        return True


def _leads_nowhere(path: Path) -> bool:
    """Whether it is a link to something that is not there: a drive that is not mounted, say."""
    try:
        return path.is_symlink() and not path.exists()
    except OSError:
        return False
