"""Signs that are not what they look like: what phones, web pages and escapes put into a text."""

from __future__ import annotations

import re

LONGEST = 4096  # characters of a key or value; some checks take its square in time
NO_LETTER = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # all of it can only come from escapes
NO_LETTER_WORDS = (
    r"a \ in double quotes begins an escape, and this one stands for no letter; write \\, or single quotes"
)
# Spaces that YAML takes for letters, and what is not seen at all.
INVISIBLE = re.compile("[\u00a0\u00ad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff]")
TYPOGRAPHIC = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a\u2033\u2032"


def doubtful(text: str) -> str | None:
    """What is wrong with a key or value, so much that it is not looked at further; None: nothing."""
    if len(text) > LONGEST:
        return f"more than {LONGEST} letters; no setting is so long"
    return NO_LETTER_WORDS if NO_LETTER.search(text) else None


def plain_doubt(text: str) -> str | None:
    """What is wrong with signs that do not stand in quotes; None: nothing."""
    if doubt := invisible(text):
        return doubt
    if text.startswith(tuple(TYPOGRAPHIC)):
        return f"{text[0]} is no quote but a letter of the text; type ' or \" in its place"
    return None


def invisible(text: str) -> str | None:
    """A sentence about the first sign that only looks like a space, or like nothing; None: there is none."""
    found = INVISIBLE.search(text)
    if not found:
        return None
    return (
        f"an invisible sign (U+{ord(found[0]):04X}) that only looks like a space, or like nothing; delete it and type "
        "a space, or put the text in quotes where it is meant"
    )
