"""Installed models and signed ones for the tests: tiny ones, by a key of the test's own."""

import hashlib
from dataclasses import replace
from pathlib import Path

from edge.minisign import ENDING, SecretKey
from edge.model_store import Entry, ModelStore
from edge.update.comments import comment_of_model
from tests.helpers.tiny import model_bytes, tiny_card


def tiny_entry(name="tiny", **more):
    """Return the bytes of a tiny model, and its entry."""
    data = model_bytes(replace(tiny_card(), name=name))
    digest = hashlib.sha256(data).hexdigest()
    return data, Entry(digest, f"{name}@{digest[:12]}", **more)


def put(store: ModelStore, change, name="tiny", **more):
    """Install a tiny model without a signature; ``change`` takes the entry and the list."""
    data, entry = tiny_entry(name, **more)
    store.folder.mkdir(parents=True, exist_ok=True)
    part = store.folder / "new.part"
    part.write_bytes(data)
    store.put(part, entry, None, lambda held: change(entry, held))
    return entry


def current(store, name="tiny", **more):
    """Have a tiny model in use for long."""
    return put(store, lambda entry, held: replace(held.used(entry), proven=True), name, **more)


def waiting(store, name="new", **more):
    """Have a tiny model wait."""
    return put(store, lambda entry, held: replace(held, waiting=entry), name, **more)


def trusting(store, key: SecretKey):
    """Have a key trusted."""
    store.change(lambda held: replace(held, keys=(key.public.line,)))


def offer(folder: Path, key: SecretKey, name="new", serial=1):
    """Write a signed tiny model into a folder; return its name as events have it."""
    data, entry = tiny_entry(name)
    card = hashlib.sha256(replace(tiny_card(), name=name).to_json().encode()).hexdigest()
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.onnx"
    file.write_bytes(data)
    signature = key.sign(file, comment_of_model(entry.name, serial, card))
    file.with_name(file.name + ENDING).write_text(signature.text)
    return entry.name
