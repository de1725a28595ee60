"""A number and its noun, as every command says them."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """``1 alarm``, ``2,000 alarms``."""
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"
