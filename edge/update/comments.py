"""The comment of a signature: what was signed, and its serial; ``name:value`` with tabs, as minisign writes its own."""

from __future__ import annotations

import re

from edge.errors import SignatureError

SERIAL = re.compile(r"[1-9][0-9]{0,14}")  # a JSON number that every program reads exactly
MODEL, KEY = {"model", "serial", "card"}, {"key", "serial"}


def comment_of_model(name: str, serial: int, card_sha256: str) -> str:
    """Return the comment of a model: card's name and short digest, serial, SHA-256 of the card's text.

    Raises SignatureError for a name that is not one printable line.
    """
    if not name.isprintable():
        raise SignatureError(f"the model's name {name!r} has a character that cannot be signed; export it with another")
    return f"model:{name}\tserial:{serial}\tcard:{card_sha256}"


def comment_of_key(key_id: str, serial: int) -> str:
    """Return the comment of a public key: its id as minisign shows it, and the serial."""
    return f"key:{key_id}\tserial:{serial}"


def parse_comment(text: str, where: object = "the signature") -> dict[str, str]:
    """Return the fields of a model's comment, or of a key's; ``serial`` is the text of a positive integer.

    Raises SignatureError for any other comment, in which ``where`` names the file.
    """
    pairs = [field.partition(":")[::2] for field in text.split("\t")]
    found = dict(pairs)
    if (found.keys() >= MODEL) == (found.keys() >= KEY) or len(found) != len(pairs):
        raise SignatureError(f"{where}: its comment names no model or key alone; sign it with `bear-alarm model sign`")
    if not SERIAL.fullmatch(found["serial"]):
        raise SignatureError(f"{where}: its serial {found['serial']!r} is no whole number from 1; sign it again")
    return found
