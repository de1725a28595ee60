"""In a child process: import one package. It lies alone, so that nothing else is imported before it."""

from __future__ import annotations

import importlib


def main(asks: str) -> str:
    """Import it and say which version it calls itself. Raises whatever it raises."""
    return str(importlib.import_module(asks).__dict__.get("__version__", ""))
