"""Mistakes of the user in a notebook: one sentence under the cell, and no traceback."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from edge.errors import BearAlarmError


def plain_errors() -> None:
    """From now on a BearAlarmError in this notebook is its sentence. The cell has failed all the same."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is not None:
        shell.set_custom_exc((BearAlarmError,), _say)


def _say(_shell: Any, _kind: type, error: BaseException, _traceback: TracebackType | None, **_: Any) -> list[str]:
    sys.stderr.write(f"{error}\n")
    return [str(error)]
