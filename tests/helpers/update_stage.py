"""A maker of models and a device that takes them: signed files on a stick, and a look at what is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.detect.classifier import BUNDLED, Classifier, file_digest, load
from edge.minisign import ENDING, PublicKey, SecretKey, Signature, text_of, verify
from edge.model_store import Installed, ModelStore
from edge.update.comments import comment_of_model
from tests.helpers.signed_models import signed, signed_key
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
    """Maker of models: signs them with rising serials, and puts the newest on a stick."""

    stick: Path
    make: Make = tiny_model
    key: SecretKey = field(default_factory=SecretKey.new)
    serial: int = 0

    def model(self) -> str:
        """Put another model on the stick, and nothing else; return its SHA-256."""
        shutil.rmtree(self.stick, ignore_errors=True)
        path = self._put("bear.onnx")
        path.write_bytes(self.make(self.serial + 1))
        model = Classifier(path)
        self.serial += 1
        signed(path, comment_of_model(model.name, self.serial, model.card_digest), self.key)
        return model.digest

    def next_key(self) -> SecretKey:
        """Put another public key on the stick, and nothing else; return it whole."""
        shutil.rmtree(self.stick, ignore_errors=True)
        return self._key()

    def model_and_next_key(self) -> SecretKey:
        """Put another model on the stick, and a key with a higher serial, which is taken first; return the key."""
        self.model()
        return self._key()

    def _key(self) -> SecretKey:
        new = SecretKey.new()
        self.serial += 1
        signed_key(self._put("next.pub"), new, self.key, self.serial)
        return new

    def _put(self, name: str) -> Path:
        self.stick.mkdir(parents=True, exist_ok=True)
        return self.stick / name


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
