"""A maker of models and a device that takes them: signed files on a stick, and a look at what is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.detect.classifier import BUNDLED, Classifier, file_digest, load
from edge.minisign import ENDING, PublicKey, SecretKey, Signature, text_of, verify
from edge.model_store import Installed, ModelStore
from edge.update.comments import comment_of_key, comment_of_model
from tests.helpers.tiny import model_bytes, protobuf_field, tiny_card

Make = Callable[[int], bytes]  # a serial -> a model's file


def tiny_model(serial: int) -> bytes:
    """Return a tiny model, another one for each serial."""
    return model_bytes(replace(tiny_card(), name=f"tiny{serial}"))


def real_model(serial: int) -> bytes:
    """Return the model that ships with one more line of metadata: another file for each serial."""
    entry = protobuf_field(1, b"serial") + protobuf_field(2, str(serial).encode())
    return BUNDLED.read_bytes() + protobuf_field(14, entry)


@dataclass
class Maker:
    """Who makes models, signs them with rising serials, and puts the newest on a stick."""

    stick: Path
    make: Make = tiny_model
    key: SecretKey = field(default_factory=SecretKey.new)
    serial: int = 0

    def model(self) -> str:
        """Put another model on the stick; return its SHA-256."""
        path = self._put("bear.onnx", self.make(self.serial + 1))
        model = Classifier(path)
        self._sign(path, lambda serial: comment_of_model(model.name, serial, model.card_digest))
        return model.digest

    def next_key(self) -> SecretKey:
        """Put another public key on the stick; return it whole."""
        new = SecretKey.new()
        path = self._put("next.pub", new.public.text.encode())
        self._sign(path, lambda serial: comment_of_key(new.public.name, serial))
        return new

    def _put(self, name: str, data: bytes) -> Path:
        shutil.rmtree(self.stick, ignore_errors=True)
        self.stick.mkdir(parents=True)
        (self.stick / name).write_bytes(data)
        return self.stick / name

    def _sign(self, path: Path, comment: Callable[[int], str]) -> None:
        self.serial += 1
        path.with_name(path.name + ENDING).write_text(self.key.sign(path, comment(self.serial)).text)


def check_device(state: Path, keys: Iterable[PublicKey]) -> Installed:
    """Return what is installed in a state folder, once it holds that the alarm has a working, signed model.

    The model in use loads as the alarm loads it, without falling back to another. Each listed one is whole, and one of
    ``keys`` signed it, but where a person put it in.
    """
    store = ModelStore.of(state)
    listed = store.read()
    current = store.slot(listed.current) if listed.current else BUNDLED
    assert load(None, state).path == current, "the alarm took another model than the list names"
    named = {key.name: key for key in keys}
    for entry in listed.entries:
        slot = store.slot(entry)
        assert file_digest(slot) == entry.sha256, f"{slot} is damaged"
        if entry.key is not None:
            beside = slot.with_name(slot.name + ENDING)
            verify(Signature.of(text_of(beside), beside), named[entry.key], slot, slot)
    return listed
