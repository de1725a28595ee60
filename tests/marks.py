"""Several marks as one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def marked(*marks: pytest.MarkDecorator) -> Callable[[Test], Test]:
    """Set all of these marks."""

    def mark(test: Test) -> Test:
        for each in marks:
            test = each(test)
        return test

    return mark
