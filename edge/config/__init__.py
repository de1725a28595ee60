"""Turn one YAML file, in which everything may be set and nothing must be, into ``edge.settings.Settings``.

    find         where it is
    yaml_tree    every value as text, every key with its line
    load         the whole way from a file to settings, with all mistakes at once
    secrets      ${NAME} from the environment, systemd's credentials or secrets.yml
    schema       what may be set (pydantic), and the JSON Schema of it
    check        settings that contradict each other, and what this machine lacks
    cameras      the same for cameras and their sources
    sentences    what is wrong with a setting, in one sentence
    to_settings  the settings of a config that has no mistake
    template     the file that ``config init`` writes

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
    """Load the settings in a config and log its warnings. Raises ConfigError, which names all that is wrong."""
    from edge.config.load import load

    loaded = load(path)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings
