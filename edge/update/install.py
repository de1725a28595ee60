"""Take a signed model or key from a stick, a folder, HTTPS or MQTT: fetched, checked, and put into the store.

Whom the owner trusts is asked first, then the serial, and only then the file is copied. The copy is checked, and no
other: what lies on a stick may change or go. Until the store's list is replaced, nothing has changed.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from edge.alert.mqtt_settings import PORTS
from edge.alert.redact import address_of
from edge.errors import BearAlarmError, ModelError, OptionError, SignatureError
from edge.minisign import ENDING, MAX_BYTES, Signature, is_secret, text_of, verify
from edge.model_store import PART, Entry, Installed, ModelStore
from edge.settings import MQTT
from edge.update.comments import parse_comment
from edge.update.fetch import LARGEST, PIECE, Part, download, retained, text_at
from edge.update.keys import accepted, believed, by_hand, check_jump, lost, signer_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an update that was not refused."""

    kind: Literal["waiting", "installed", "trusted", "nothing"]
    words: str  # one sentence without a full stop
    entry: Entry | None = None  # the model it is about


@dataclass(frozen=True, slots=True)
class Offer:
    """A signed file that a source has; nothing in it is verified yet."""

    where: str  # for the words, without secrets
    signature: Signature
    copy: Callable[[Part], None]  # all of it
    file: Path | None = None  # where it lies on this machine


def update(
    source: str,
    store: ModelStore,
    *,
    unattended: bool,
    older: bool = False,
    now: bool = False,
    signature: str | None = None,
) -> Outcome:
    """Take what a source has: a folder or file, an https URL, or an MQTT topic's URL with the topic at its end.

    A model waits, to be tried beside the one in use; ``now``: it is the one in use at once. ``older``: a person takes
    one with a lower serial. ``unattended``: an old serial is nothing new, and one far higher than all before is
    refused. ``signature``: the text that belongs to the URL, in place of the one fetched beside it. A refusal is a
    SignatureError, ModelError or OptionError, and what cannot be reached an UnavailableError: one sentence, and nothing
    has changed.
    """
    with store.updating():
        return _Update(store, unattended, older, now).take(source, signature)


def message(text: str) -> tuple[str, str | None]:
    """Return URL and signature of a message ``{"url": …, "signature": …}``. Raises OptionError.

    Without ``signature``, the one beside the URL is meant.
    """
    try:
        held = json.loads(text)
        url, signature = held["url"], held.get("signature")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        url = signature = None
    if not isinstance(url, str) or not isinstance(signature, str | None) or "://" not in url:
        raise OptionError(
            "the message is no announcement of a model; "
            'publish {"url": "https://…/NAME.onnx", "signature": "the text of the .minisig file"}'
        )
    return url, signature


@dataclass(eq=False)
class _Update:
    """One update of a store. Meanwhile nothing else changes it but the alarm, which switches."""

    store: ModelStore
    unattended: bool
    older: bool
    now: bool
    problems: list[BearAlarmError] = field(default_factory=list)  # of what is passed over

    def take(self, source: str, signature: str | None) -> Outcome:
        """Take the keys, by their serials, then the newest model that a trusted key signed. Raises what refuses it."""
        try:
            offers = _offers(source, signature, self.problems)
        except BearAlarmError:
            raise
        except (ValueError, RuntimeError):  # a character that no path has, half an address, a home of nobody
            shown = address_of(source) if "://" in source else source
            raise OptionError(f"{shown!r} is no folder, file or address; correct it") from None
        outcomes: list[Outcome] = []
        refusals: list[BearAlarmError] = []
        keys, models = self._sorted(offers)
        for offer in keys:
            try:
                outcomes.append(self._key(offer))
            except SignatureError as error:
                self.problems.append(error)
        for offer in reversed(models):
            try:
                fields = believed(offer.signature, self.store.read(), offer.where)
            except SignatureError as error:
                self.problems.append(error)
                continue
            try:
                outcomes.append(self._model(offer, fields))
                break
            except BearAlarmError as error:  # half copied, perhaps: there may be a good one behind it
                refusals.append(error)
        kinds = {each.kind for each in outcomes}
        known = "trusted" in kinds or any(each.entry for each in outcomes)
        well = kinds & {"waiting", "installed"} if refusals else known
        problems = [*refusals, *self.problems]
        refusal = problems.pop(0) if problems and not well else None
        for problem in problems:
            log.warning("%s", problem)
        if refusal:
            trusted = (each.words for each in outcomes if each.kind == "trusted")
            raise type(refusal)("; ".join([str(refusal), *trusted]))
        done = [each for each in outcomes if each.kind != "nothing"] or outcomes[-1:]
        return Outcome(done[-1].kind, "; ".join(each.words for each in done), done[-1].entry)

    def _sorted(self, offers: Sequence[Offer]) -> tuple[list[Offer], list[Offer]]:
        """Return the keys and the models, the lowest serial first."""
        found: list[tuple[int, bool, Offer]] = []
        for offer in offers:
            try:
                fields = parse_comment(offer.signature.comment, offer.where)
                found.append((int(fields["serial"]), "key" in fields, offer))
            except SignatureError as error:
                self.problems.append(error)
        found.sort(key=itemgetter(0))
        return [offer for _, key, offer in found if key], [offer for _, key, offer in found if not key]

    def _key(self, offer: Offer) -> Outcome:
        before = self.store.read()
        fields = believed(offer.signature, before, offer.where)
        name, serial = fields["key"], int(fields["serial"])
        if self.unattended:
            if serial <= before.key_serial:
                return Outcome(
                    "nothing", f"key {name} (serial {serial}) was here before, or is older than one that was"
                )
            check_jump(serial, before, offer.where)
        with copied(self.store, offer.where, offer.copy, MAX_BYTES) as part:
            after = self.store.change(lambda held: accepted(part, offer.signature, held))
        if after.keys == before.keys:
            return Outcome("nothing", f"key {name} is trusted already")
        words = f"key {name}, signed by key {offer.signature.key_name}, is trusted from now on"
        return Outcome("trusted", "; ".join([words, *lost(before, after)]))

    def _model(self, offer: Offer, fields: dict[str, str]) -> Outcome:
        """Put a model into the store, whose comment is believed. Raises what refuses it."""
        installed, serial = self.store.read(), int(fields["serial"])
        here = next((each for each in installed.entries if each.serial == serial), None)
        if here and here.name != fields["model"]:
            raise SignatureError(
                f"{offer.where}: serial {serial} is that of {here.name}, which is installed, and this is another file "
                f"({fields['model']}); sign it with a higher serial"
            )
        if offer.file and (here or serial <= installed.serial):
            try:  # a new model may have been copied over one, but not its signature
                verify(offer.signature, signer_of(offer.signature, installed, offer.where), offer.file, offer.where)
            except SignatureError as error:
                raise SignatureError(
                    f"{error}; its {ENDING} is that of {fields['model']} (serial {serial}), which was accepted before"
                ) from None
        if here and self.store.is_whole(here) and not (self.older and here == installed.previous):
            return self._again(here, installed)
        if not here and serial <= installed.serial and not self.older:
            old = f"serial {serial} of {fields['model']} is not higher than {installed.serial}, which was accepted here"
            if self.unattended:
                return Outcome("nothing", old)
            raise SignatureError(
                f"{offer.where}: {old} before; sign it again with --serial {installed.serial + 1} or more, "
                "or take it by hand with `bear-alarm model update … --older`"
            )
        if self.unattended:
            check_jump(serial, installed, offer.where)
        with copied(self.store, offer.where, offer.copy, LARGEST) as part:
            entry = self._checked(part, offer, fields)
            after = self.store.put(part, entry, offer.signature.text, partial(self._with, entry))
        waited = installed.waiting
        gone = f"; {waited.name} is tried no longer" if waited and waited not in (after.waiting, after.current) else ""
        if after.waiting == entry:
            by = "" if self.unattended else ", by the running alarm or from its next start on"
            return Outcome("waiting", f"{_named(entry)} is here, and is tried beside the model in use{by}{gone}", entry)
        return Outcome("installed", f"{_named(entry)} is the model in use from now on{gone}", entry)

    def _with(self, entry: Entry, held: Installed) -> Installed:
        """Return the list with a model that was checked."""
        serial = int(entry.serial or 0)
        held = replace(held, serial=(by_hand if self.older else max)(serial, held.serial))
        if held.current and held.current.sha256 == entry.sha256:  # put in by hand before, or its file was damaged
            return replace(held, current=replace(entry, tested=held.current.tested))
        waiting = replace(held, waiting=entry)
        return waiting.switched(tested=False) if self.now else waiting

    def _again(self, here: Entry, installed: Installed) -> Outcome:
        """Return the outcome for a model that is here already."""
        if here == installed.waiting and self.now:
            self.store.change(lambda held: held.switched(tested=False) if held.waiting == here else held)
            return Outcome("installed", f"{_named(here)} is the model in use from now on", here)
        known = {
            installed.previous: "the one before the model in use",
            installed.waiting: "tried beside the model in use",
        }
        return Outcome("nothing", f"{_named(here)} is {known.get(here, 'the model in use')} already", here)

    def _checked(self, part: Path, offer: Offer, fields: dict[str, str]) -> Entry:
        """Verify a copy and load it as an alarm does. Raises SignatureError and ModelError."""
        from edge.detect.classifier import Classifier

        key = signer_of(offer.signature, self.store.read(), offer.where)
        verify(offer.signature, key, part, offer.where)
        classifier = Classifier(part)
        if classifier.name != fields["model"]:
            raise SignatureError(
                f"{offer.where}: its signature names {fields['model']}, but the file is {classifier.name}; "
                "sign it again"
            )
        if classifier.card_digest != fields["card"]:
            raise SignatureError(f"{offer.where}: its signature names another card than the file has; sign it again")
        return Entry(classifier.digest, classifier.name, int(fields["serial"]), key.name, offer.where)


@contextmanager
def copied(store: ModelStore, where: str, copy: Callable[[Part], None], most: int) -> Iterator[Path]:
    """Yield a copy in the store's folder, where nobody changes it. Errors about it name what it was copied from."""
    path = store.folder / f"new{PART}"
    try:
        with closing(Part(path, where, most)) as part:
            copy(part)
        yield path
    except (ModelError, SignatureError) as error:
        raise type(error)(str(error).replace(str(path), where)) from None
    except OSError as error:
        raise OptionError(
            f"{store.folder}: what was copied cannot be read ({error.strerror}); is this disk failing?"
        ) from None
    finally:
        with suppress(OSError):  # else the next update removes it
            path.unlink(missing_ok=True)


def _named(entry: Entry) -> str:
    return f"the model {entry.name} (serial {entry.serial}, from {entry.source})"


# What a source has.


def _offers(source: str, signature: str | None, problems: list[BearAlarmError]) -> list[Offer]:
    """List the signed files of a source; ``problems`` gets those of a folder that cannot be used.

    Raises SignatureError, OptionError and UnavailableError.
    """
    if source.lower().startswith(tuple(f"{scheme}://" for scheme in PORTS)):
        source, signature = message(retained(source))
    if "://" in source:
        where, parts = address_of(source), urlsplit(source)
        if signature is None:
            signature = text_at(parts._replace(path=parts.path + ENDING).geturl())
        return [Offer(where, Signature.of(signature, f"the signature at {where}"), partial(download, source))]
    path = Path(source.removesuffix(ENDING)).expanduser()
    if source == MQTT and not path.exists():
        raise OptionError(f"{source}: the word is for a config alone; give the topic itself, mqtt://HOST/TOPIC")
    try:
        if not path.is_dir():
            return [_of_file(path)]
        names = sorted(each.name for each in path.iterdir() if each.name.endswith(ENDING) and each.name[0] != ".")
    except OSError as error:
        raise _unreadable(path, error) from None
    if not names:
        raise OptionError(
            f"{path}: no signed model or key is here; copy the .onnx file and its {ENDING} file into this folder"
        )
    offers = []
    for name in names:
        try:
            offers.append(_of_file(path / name.removesuffix(ENDING)))
        except (SignatureError, OptionError) as error:
            problems.append(error)
    return offers


def _of_file(file: Path) -> Offer:
    beside = file.with_name(file.name + ENDING)
    _check_plain(file)
    if is_secret(file):
        raise OptionError(f"{file}: this is a private key, and none lies on a device; take it away, and make another")
    if file.suffix == ".pub" and not beside.exists():
        raise OptionError(
            f"{file}: no signature is beside it; a person trusts it with `bear-alarm model trust {file.name}`"
        )
    _check_plain(beside)
    where = "".join(sign if sign.isprintable() else "?" for sign in str(file))  # it is published, too
    return Offer(where, Signature.of(text_of(beside), beside), partial(copy_file, file), file)


def _check_plain(file: Path) -> None:
    """Raise OptionError for what is no plain file: a link may lead anywhere, and a pipe has no end."""
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        raise OptionError(
            f"{file}: there is no such file; is the stick mounted, and are the model and its {ENDING} file there?"
        ) from None
    except OSError as error:
        raise _unreadable(file, error) from None
    if not stat.S_ISREG(mode):
        raise OptionError(f"{file}: is no plain file but a link, folder or device; copy the file itself")


def copy_file(file: Path, part: Part) -> None:
    """Write a file into a part. Raises OptionError, and ModelError for too many bytes."""
    try:
        with file.open("rb", buffering=0) as opened:
            part.expect(os.fstat(opened.fileno()).st_size)
            while piece := opened.read(PIECE):
                part.write(piece)
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: Path, error: OSError) -> OptionError:
    todo = "put the stick in again, or copy the files again"
    if isinstance(error, PermissionError):
        todo = "let all users read it; as a person, use sudo"
    return OptionError(f"{path}: cannot be read ({error.strerror}); {todo}")
