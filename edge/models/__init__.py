"""Which model file the alarm uses: the one named, else the chosen one, else the one that ships."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ModelError

if TYPE_CHECKING:
    from edge.classifier import Classifier

log = logging.getLogger(__name__)

ENVIRONMENT = "BEAR_ALARM_MODEL"
BUNDLED = Path(__file__).with_name("bear.onnx")


def user_folder() -> Path | None:
    """Where this user's settings live (XDG base directories; %APPDATA% on Windows); None without a home."""
    for variable in ("XDG_CONFIG_HOME", "APPDATA"):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / "bear-alarm"
    try:
        return Path.home() / ".config" / "bear-alarm"
    except RuntimeError:  # a service user may have no home
        return None


def chosen() -> Path | None:
    """Where ``bear-alarm model use`` puts the chosen model, whether one is there or not."""
    folder = user_folder()
    return None if folder is None else folder / "model.onnx"


def previous() -> Path | None:
    """Where the model chosen before it is kept."""
    folder = user_folder()
    return None if folder is None else folder / "model.previous.onnx"


def find(model: str | None = None) -> Path:
    """The model file: ``model``, else $BEAR_ALARM_MODEL, else the chosen one, else the bundled one.

    Raises ModelError when the one named is not a file, or none is named and none ships.
    """
    for named, whence in ((model, "--model"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if named:
            path = Path(named).expanduser()
            if path.is_dir():
                raise ModelError(f"{path}: {whence} names a folder, not a model file; name the .onnx file in it")
            if not path.exists():
                raise ModelError(f"{path}: no such model file ({whence}); name one made by `bear-alarm export`")
            return path
    own = chosen()
    if own is not None and own.is_file():
        return own
    if not BUNDLED.is_file():
        raise ModelError(f"{BUNDLED}: this installation ships no model; name one with --model FILE")
    return BUNDLED


def load(model: str | None = None, *, threads: int = 1) -> Classifier:
    """The classifier ``find`` names. A chosen model gone bad gives way to the last good one, and that is said.

    A model the user named is never replaced: its ModelError stands.
    """
    from edge.classifier import Classifier

    first = find(model)
    try:
        return Classifier(first, threads=threads)
    except ModelError as error:
        if model or os.environ.get(ENVIRONMENT) or first != chosen():
            raise
        log.warning("%s", error)
        for other in (previous(), BUNDLED):
            if other is not None and other.is_file():
                try:
                    classifier = Classifier(other, threads=threads)
                except ModelError as worse:
                    log.warning("%s", worse)
                    continue
                log.warning("going on with %s; choose again with `bear-alarm model use`", other)
                return classifier
        raise
