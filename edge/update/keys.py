"""The keys that a device trusts: two at most, so that the next one is there before the first is lost or given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.errors import OptionError, SignatureError
from edge.minisign import ENDING, PublicKey, Signature, text_of, verify, verify_comment
from edge.model_store import Installed
from edge.update.comments import parse_comment

MAX_KEYS = 2


def trusted(installed: Installed) -> tuple[PublicKey, ...]:
    """Return the trusted keys, the newest last. Raises SignatureError for a list that is damaged."""
    return tuple(PublicKey.of(line, "the list of installed models") for line in installed.keys)


def signer_of(signature: Signature, installed: Installed, where: object) -> PublicKey:
    """Return the trusted key that a signature names; nothing is verified yet. Raises SignatureError without one."""
    keys = trusted(installed)
    for key in keys:
        if key.id == signature.key_id:
            return key
    if not keys:
        raise SignatureError(
            f"{where}: no key is trusted on this device yet; trust the one of who makes your models, "
            "with `bear-alarm model trust KEY.pub`"
        )
    raise SignatureError(
        f"{where}: signed by key {signature.key_name}, which is not trusted here (trusted: {_names(keys)}); "
        "ask for a signature by a trusted key, or trust that key with `bear-alarm model trust KEY.pub`"
    )


def believed(signature: Signature, installed: Installed, where: object) -> dict[str, str]:
    """Return the fields of a comment that a trusted key signed; the file itself is not looked at.

    Raises SignatureError.
    """
    verify_comment(signature, signer_of(signature, installed, where), where)
    return parse_comment(signature.comment, where)


def accepted(file: Path, signature: Signature, installed: Installed) -> Installed:
    """Return the list that trusts a key file which a trusted key signed: these two keys, and no other.

    ``file`` is one that nobody changes meanwhile. The list is the same where the key is trusted already. Raises
    SignatureError for a signature that does not fit, one by another key, and a serial that is not higher.
    """
    new = PublicKey.of(text_of(file), file)
    if new in trusted(installed):
        return installed
    signer, serial = _signer_of_key(new, file, signature, installed)
    if serial <= installed.serial:
        raise SignatureError(
            f"{file}: its serial {serial} is not higher than {installed.serial}, which was accepted here before: "
            "it is an old file; sign the key again"
        )
    return replace(installed, keys=(signer.line, new.line), serial=serial)


def trust(file: Path, installed: Installed) -> Installed:
    """Return the list that trusts a key file by a person's word; of three keys, the newest two stay.

    Where keys are trusted and the file's signature lies beside it, that has to fit. Raises SignatureError.
    """
    new, keys = PublicKey.of(text_of(file), file), trusted(installed)
    if new in keys:
        return installed
    beside = file.with_name(file.name + ENDING)
    if keys and beside.exists():
        _signer_of_key(new, file, Signature.of(text_of(beside), beside), installed)
    _check_id(new, file, installed)
    return replace(installed, keys=tuple(each.line for each in (*keys, new)[-MAX_KEYS:]))


def distrust(name: str, installed: Installed) -> Installed:
    """Return the list without the key of this id. Raises OptionError where it is not trusted."""
    keys = trusted(installed)
    left = tuple(each.line for each in keys if each.name != name.upper())
    if len(left) == len(keys):
        raise OptionError(f"{name}: no trusted key has this id; trusted: {_names(keys) or 'none'}")
    return replace(installed, keys=left)


def _signer_of_key(new: PublicKey, file: Path, signature: Signature, installed: Installed) -> tuple[PublicKey, int]:
    """Return the trusted key that signed the key ``new``, read from ``file``, and the serial. Raises SignatureError."""
    signer = signer_of(signature, installed, file)
    verify(signature, signer, file, file)
    fields = parse_comment(signature.comment, file)
    if fields.get("key") != new.name:
        raise SignatureError(f"{file}: its signature does not name key {new.name}; sign the key again")
    _check_id(new, file, installed)
    return signer, int(fields["serial"])


def _check_id(new: PublicKey, file: Path, installed: Installed) -> None:
    if any(each.id == new.id for each in trusted(installed)):
        raise SignatureError(f"{file}: another key with the id {new.name} is trusted; make a new key, with another id")


def _names(keys: tuple[PublicKey, ...]) -> str:
    return ", ".join(each.name for each in keys)
