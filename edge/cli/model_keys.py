"""``bear-alarm model keygen``, ``sign`` and ``trust``: who may give a device a new model."""

from __future__ import annotations

import logging
import os
import stat
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.events.command import StateOpt
from edge.cli.options import ConfigOpt, target_of
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.minisign import SecretKey

log = logging.getLogger(__name__)

PUBLIC, COUNTER = ".pub", ".serial"  # beside a private key: its public one, and the last serial that was given
MAX_SERIAL = 10**15 - 1  # as edge.update.comments reads it
PASSPHRASE_BYTES = 1024  # the most that a stock minisign takes
MIN_PASSPHRASE = 10  # characters, as the page's


def keygen(file: Annotated[Path, typer.Argument(help="Private key to write; the public one is FILE.pub.")]) -> None:
    """Make a key that signs models, for devices that nobody visits. Do it on your own computer, never on a device.

    It asks for a passphrase twice; without a terminal it reads one line of its input. Keep a copy of the file.
    """
    from edge.cli.doctor.findings import UNIT
    from edge.files import need_folder, replace_whole, to_disk
    from edge.minisign import SecretKey

    public = file.with_name(file.name + PUBLIC)
    if (Path("/") / UNIT).is_file():
        raise OptionError(
            "the alarm's service is installed on this machine, and a private key never lies on a device; "
            "make it on your own computer"
        )
    need_folder(file)
    for each in (file, public):
        if each.exists():
            raise OptionError(f"{each}: exists already, and a key is never replaced; name another file")
    key = SecretKey.new()
    private = key.locked(_passphrase(file, new=True)).encode()
    replace_whole(public, key.public.text.encode())  # first: a private key without it would be in the way
    try:
        replace_whole(file, private, private=True)
    except OptionError:
        public.unlink()
        raise
    to_disk(file.parent)
    print(f"{file}: the private key; keep a copy of it, and its passphrase, in a safe place")
    print(f"{public}: its public key, no secret; on each device: bear-alarm model trust {public.name}")
    print(f"There, compare this line:\ntrusted: {key.public.name} {key.public.line}")


def sign(
    file: Annotated[Path, typer.Argument(help="Model, or a public key (.pub) that devices shall trust next.")],
    key: Annotated[Path, typer.Option(help="Private key that `model keygen` or minisign made.")],
    serial: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_SERIAL, help="Serial (default: one more than the last of all keys in KEY's folder)."
        ),
    ] = None,
) -> None:
    """Sign a model or a public key for devices that trust KEY. Writes FILE.minisig; minisign verifies it too.

    A device takes a model or key only if its serial is higher than all before it. A model is checked first.
    """
    from edge.files import replace_whole
    from edge.minisign import ENDING, is_secret
    from edge.update.comments import comment_of_key, comment_of_model

    if file.suffix == PUBLIC:
        from edge.minisign import PublicKey, text_of

        what = PublicKey.of(text_of(file), file).name
        comment_of = partial(comment_of_key, what)
    elif is_secret(file):
        raise OptionError(f"{file}: this is a private key, which nobody signs; name a model, or the .pub file")
    else:
        from edge.detect.classifier import Classifier

        model = Classifier(file)
        what = model.name
        comment_of = partial(comment_of_model, what, card_sha256=model.card_digest)
    opened = _opened(key)
    if what == opened.public.name:
        raise OptionError(f"{file}: a key does not sign itself; on each device: bear-alarm model trust {file.name}")
    # The files beside the keys: all who sign for a device count together. Read now: the passphrase took a while.
    last = max(map(_last_serial, key.absolute().parent.glob(f"*{COUNTER}")), default=0)
    number = serial or last + 1
    if number == 1 and not serial:
        log.warning(
            "There is no %s%s, so this is serial 1; if this key has signed before, give --serial.", key, COUNTER
        )
    signature = opened.sign(file, comment_of(serial=number))
    if number > last:  # first: no serial is given twice
        replace_whole(key.with_name(key.name + COUNTER), f"{number}\n".encode())
    beside = file.with_name(file.name + ENDING)
    replace_whole(beside, signature.text.encode())
    print(f"{beside}: {what}, serial {number}, signed with key {signature.key_name}")
    if number <= last:
        log.warning(
            "Serial %d is not higher than the last one, %d: a device that has that one refuses it.", number, last
        )


def trust(
    key: Annotated[Path | None, typer.Argument(metavar="[KEY.pub]", help="Public key to trust from now on.")] = None,
    remove: Annotated[str | None, typer.Option(metavar="ID", help="Trust this key no longer.")] = None,
    config: ConfigOpt = None,
    state: StateOpt = None,
) -> None:
    """Trust a public key: models that it signed are taken on this device. Two keys at most; the newest two stay.

    Compare the line that it prints with the last line of KEY.pub on the computer of who makes the models: anybody can
    make a key with the same id.
    """
    from edge.model_store import ModelStore
    from edge.update.keys import distrust, lost, trusted
    from edge.update.keys import trust as with_key

    if (key is None) == (remove is None):
        raise OptionError("name one public key file, or --remove ID for a key that is trusted")
    store = ModelStore.of(target_of(config, state).state)
    before = store.read()
    after = store.change(lambda held: with_key(key, held) if key else distrust(str(remove), held))
    print(f"Models in {store.folder}")
    for each in trusted(before):
        if each not in trusted(after):
            print(f"no longer trusted: {each.name}")
    for each in trusted(after):
        print(f"trusted: {each.name} {each.line}")
    if not after.keys:
        print("trusted: no key; only a person can give this device a model")
    elif last := max(after.serial, after.key_serial):
        print(
            f"the next serial for this device is {last + 1}: a new key's first `model sign` needs --serial {last + 1}"
        )
    for words in lost(before, after):
        log.warning("%s", words)


def _last_serial(counter: Path) -> int:
    """Return the serial that a small file keeps. Raises OptionError for a damaged one."""
    from edge.minisign import text_of
    from edge.update.comments import SERIAL

    text = text_of(counter).strip()
    if not SERIAL.fullmatch(text):
        raise OptionError(f"{counter}: {text[:20]!r} is no serial; write the last one into it that you signed with")
    return int(text)


def _opened(file: Path) -> SecretKey:
    """Return a private key, its passphrase asked for where it has one. Raises SignatureError and OptionError."""
    from edge.minisign import SCRYPT, SecretKey, secret_parts, text_of

    text = text_of(file)
    parts = secret_parts(text)
    if os.name == "posix" and parts and stat.S_IMODE(file.stat().st_mode) & 0o077:
        log.warning("%s: other users may read this private key; run: chmod 600 %s", file, file)
    hidden = parts is not None and parts[1] == SCRYPT
    if parts and not hidden:
        log.warning("%s: this private key has no passphrase; give it one: minisign -C -s %s", file, file)
    return SecretKey.of(text, _passphrase(file, new=False) if hidden else "", file)


def _passphrase(file: Path, *, new: bool) -> str:
    """Return what a person types unseen, or one line of the input without a terminal; a new one is asked twice.

    Raises OptionError for none, one too long, and a new one too short.
    """
    if sys.stdin.isatty():
        typed: str = typer.prompt(f"Passphrase of {file}", hide_input=True, confirmation_prompt=new, err=True)
    else:
        typed = sys.stdin.buffer.readline(PASSPHRASE_BYTES + 2).rstrip(b"\r\n").decode(errors="surrogateescape")
        if not typed:
            raise OptionError(f"there is no terminal to ask for the passphrase of {file} on; pipe it in, as one line")
    if len(typed.encode(errors="surrogateescape")) > PASSPHRASE_BYTES:
        raise OptionError(f"the passphrase of {file} is too long; {PASSPHRASE_BYTES} bytes are the most")
    if new and len(typed) < MIN_PASSPHRASE:
        raise OptionError(f"a passphrase has at least {MIN_PASSPHRASE} characters, and this has {len(typed)}")
    return typed
