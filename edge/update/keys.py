"""The keys that a device trusts: two at most, so that the next one is there before the first is lost or given up."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from edge.errors import OptionError, SignatureError
from edge.minisign import ENDING, PublicKey, Signature, text_of, verify, verify_comment
from edge.model_store import Installed
from edge.update.comments import parse_comment

log = logging.getLogger(__name__)

MAX_KEYS = 2
MAX_JUMP = 1000  # serials at once: a typing error, or a thief's, must not use them up


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


def check_jump(serial: int, installed: Installed, where: object) -> None:
    """Raise SignatureError for a serial that is far higher than all before it, where there were any."""
    highest = max(installed.serial, installed.key_serial)
    if highest and serial > highest + MAX_JUMP:
        raise SignatureError(
            f"{where}: serial {serial} is more than {MAX_JUMP} higher than {highest}, the highest that was accepted "
            "here; sign it with a lower one, or take it by hand with `bear-alarm model update`"
        )


def by_hand(serial: int, highest: int) -> int:
    """Return the serial that counts once a person took one: the highest, but where that was a typing error."""
    return serial if highest > serial + MAX_JUMP else max(serial, highest)


def accepted(file: Path, signature: Signature, installed: Installed) -> Installed:
    """Return the list that trusts a key file which a trusted key signed: these two keys, and no other.

    ``file`` is one that nobody changes meanwhile. Where the key is trusted already, only its serial counts, so that
    the file does not bring it back later. Raises SignatureError for a signature that does not fit, one by another key,
    and a serial that is not higher.
    """
    new = PublicKey.of(text_of(file), file)
    signer, serial = _signer_of_key(new, file, signature, installed)
    if new in trusted(installed):
        return replace(installed, key_serial=max(serial, installed.key_serial))
    if serial <= installed.key_serial:
        raise SignatureError(
            f"{file}: its serial {serial} is not higher than {installed.key_serial}, which was accepted here before: "
            f"it is an old file; sign it again with --serial {installed.key_serial + 1} or more, "
            "or trust it by hand with `bear-alarm model trust`"
        )
    return _trusting(replace(installed, key_serial=serial), (signer, new))


def trust(file: Path, installed: Installed) -> Installed:
    """Return the list that trusts a key file by a person's word; of three keys, the newest two stay.

    Where a trusted key's signature lies beside the file, it has to fit, and its serial counts; one by another key is
    ignored with a warning. Raises SignatureError.
    """
    new, keys = PublicKey.of(text_of(file), file), trusted(installed)
    if new in keys:
        return installed
    beside = file.with_name(file.name + ENDING)
    if keys and beside.exists():
        signature = Signature.of(text_of(beside), beside)
        if signature.key_id in {each.id for each in keys}:
            _, serial = _signer_of_key(new, file, signature, installed)
            installed = replace(installed, key_serial=by_hand(serial, installed.key_serial))
        else:
            log.warning("%s: ignored; it is by key %s, which is not trusted here", beside, signature.key_name)
    _check_id(new, file, installed)
    return _trusting(installed, (*keys, new)[-MAX_KEYS:])


def distrust(name: str, installed: Installed) -> Installed:
    """Return the list without the key of this id. Raises OptionError where it is not trusted."""
    keys = trusted(installed)
    left = tuple(each for each in keys if each.name != name.upper())
    if len(left) == len(keys):
        raise OptionError(f"{name}: no trusted key has this id; trusted: {_names(keys) or 'none'}")
    return _trusting(installed, left)


def lost(before: Installed, after: Installed) -> list[str]:
    """Return what the keys that are trusted no longer mean for the models that are here, a sentence each."""
    found = []
    if before.waiting and not after.waiting:
        found.append(f"the new model {before.waiting.name} is removed, for its key is trusted no longer")
    gone = {each.name for each in trusted(before)} - {each.name for each in trusted(after)}
    if after.current and after.current.key in gone:
        found.append(
            f"the model in use, {after.current.name}, stays, though its key is trusted no longer: "
            "`bear-alarm model rollback` goes back to the one before"
        )
    return found


def _trusting(installed: Installed, keys: tuple[PublicKey, ...]) -> Installed:
    """Return the list with these keys, and without a new model by another."""
    waiting = installed.waiting
    if waiting and waiting.key not in {each.name for each in keys}:
        waiting = None
    return replace(installed, keys=tuple(each.line for each in keys), waiting=waiting)


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
    if any(each.id == new.id and each != new for each in trusted(installed)):
        raise SignatureError(f"{file}: another key with the id {new.name} is trusted; make a new key, with another id")


def _names(keys: tuple[PublicKey, ...]) -> str:
    return ", ".join(each.name for each in keys)
