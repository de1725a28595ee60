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
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config.find import BESIDE, ENVIRONMENT, SECRETS, SYSTEM, find_config
from edge.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from edge.settings import Settings

__all__ = ["BESIDE", "ENVIRONMENT", "SECRETS", "SYSTEM", "ConfigError", "ConfigProblem", "find_config", "load_config"]

log = logging.getLogger(__name__)


def load_config(path: Path) -> Settings:
    """The settings in a config. Raises ConfigError, which says all that is wrong with it; warnings are logged."""
    from edge.config.load import load

    loaded = load(path)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings
