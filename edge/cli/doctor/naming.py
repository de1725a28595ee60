"""In a child process: what ``watch`` calls SOURCE words. It brings OpenCV, which may be what is broken."""

from __future__ import annotations

from typing import Any


def main(asks: list[str]) -> dict[str, Any]:
    """The names of the words, in their order; or the problem that ``watch`` would end with."""
    from edge.cli.options import names
    from edge.errors import OptionError

    try:
        return {"names": names(asks), "problem": None}
    except OptionError as error:
        return {"names": [], "problem": str(error)}
