"""What only gathering needs is imported where it is used; where it is missing, one sentence says what to install."""

from __future__ import annotations

import importlib
from typing import Any

from edge.errors import MissingExtraError
from edge.installing import extra


def need(module: str) -> Any:
    """The module, imported now. Raises MissingExtraError with the pip line where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        part = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"`bear-alarm gather` needs {part}, which a device goes without; run: {extra('gather')}"
        ) from None
