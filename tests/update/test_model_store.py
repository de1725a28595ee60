"""The store of installed models: its list, and what it refuses."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge import model_store
from edge.detect import classifier as models
from edge.detect.classifier import load
from edge.errors import ModelError, OptionError
from edge.files import replace_whole
from edge.model_store import LIST, LOCK, UPDATING, Entry, Installed, ModelStore
from edge.update.trial import COUNTS
from tests.helpers.signed_models import put as bring
from tests.helpers.tiny import tiny_card, write_tiny_model


def entry(digit: str, **more: Any) -> Entry:
    return replace(Entry(digit * 64, f"bear@{digit * 12}"), **more)


def put(store: ModelStore, one: Entry) -> Installed:
    """Put a file into the store as the model that is tried."""
    return bring(store, b"a model", lambda each: replace(each, waiting=one), one, "signed")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "state" / "models")


def test_the_list_goes_from_one_model_to_the_next_and_back() -> None:
    a, b = entry("a"), entry("b", serial=2, key="K")
    listed = Installed().used(a)
    assert (listed.current, listed.previous, listed.proven) == (a, None, False)
    tried = replace(listed, waiting=b, starts=2, proven=True)
    assert tried.rolled_back() == replace(tried, waiting=None)  # the model in use stays
    listed = tried.switched(tested=True)
    assert listed == Installed(replace(b, tested=True), a, proven=False)
    assert listed.rolled_back() == Installed(a, replace(b, tested=True), proven=False)  # it may be the worse one
    assert listed.used(b).previous == a  # the same bytes once more are no other model
    assert listed.used(None).rolled_back().current == replace(b, tested=True)
    with pytest.raises(ModelError, match="no model before"):
        Installed().rolled_back()


def test_what_no_list_names_is_removed_and_what_was_half_done_too(store: ModelStore) -> None:
    for digit in "abc":
        put(store, entry(digit))
        store.change(lambda each: each.switched(tested=False))
    left = {f"{entry(digit).sha256}.onnx{end}" for digit in "bc" for end in ("", ".minisig")}
    assert {path.name for path in store.folder.iterdir()} == left | {LIST, LOCK, UPDATING}
    (store.folder / "stick.part").write_bytes(b"half")
    for name in (LIST, COUNTS):
        (store.folder / f".{name}.1.part").write_bytes(b"{")
    (store.folder / f".{entry('d').sha256}.onnx.minisig.1.part").write_bytes(b"un")
    with store.updating():
        assert not (store.folder / "stick.part").exists()
        assert (store.folder / f".{LIST}.1.part").exists()  # another program may be about to put it in place
    store.change(lambda each: each)
    assert {path.name for path in store.folder.iterdir()} == left | {LIST, LOCK, UPDATING}


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="opens links")
def test_a_lock_is_never_a_link(store: ModelStore) -> None:
    store.folder.mkdir(parents=True)
    (store.folder / LOCK).symlink_to(store.folder / "elsewhere")
    with pytest.raises(OptionError, match="no models can be installed there"):
        store.change(lambda each: each)
    assert not (store.folder / "elsewhere").exists()


def test_what_is_refused_leaves_all_as_it_was(store: ModelStore) -> None:
    put(store, entry("a"))

    def refused(_: Installed) -> Installed:
        raise OptionError("a lower serial")

    before = sorted(store.folder.iterdir()), store.read()
    with store.updating():
        part = store.folder / "b.part"
        part.write_bytes(b"b")
        with pytest.raises(OptionError, match="a lower serial"):
            store.put(part, entry("b"), None, refused)
        part.unlink()
    with pytest.raises(OptionError):
        store.change(refused)
    assert (sorted(store.folder.iterdir()), store.read()) == before


def test_what_finds_no_room_is_not_left_there(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, entry("a"))
    before = sorted(path.name for path in store.folder.iterdir())

    def full(path: Path, data: bytes) -> None:
        raise OptionError(f"{path}: cannot be written (No space left on device)")

    whole = replace_whole
    for name in (f"{entry('b').sha256}.onnx.minisig", LIST):
        with monkeypatch.context() as patch:
            patch.setattr(
                model_store,
                "replace_whole",
                lambda path, data, name=name: (full if path.name == name else whole)(path, data),
            )
            with pytest.raises(OptionError, match="No space left"):
                put(store, entry("b"))
        assert sorted(path.name for path in store.folder.iterdir()) == before
    assert store.read().waiting == entry("a")


def test_the_list_of_a_later_version_is_read(store: ModelStore) -> None:
    put(store, entry("a", serial=3, key="K", tested=True))
    held = json.loads((store.folder / LIST).read_text())
    held["colour"] = "brown"
    held["waiting"]["colour"] = "black"
    (store.folder / LIST).write_text(json.dumps(held))
    assert store.read() == Installed(waiting=entry("a", serial=3, key="K", tested=True))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"current": "a"}',
        '{"current": {"sha256": "../../x", "name": ""}}',
        '{"current": {"name": "x"}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_list_is_named_and_the_model_that_ships_is_taken(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    monkeypatch.setattr(models, "BUNDLED", write_tiny_model(tmp_path / "ships.onnx", tiny_card()))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(models.ENVIRONMENT, raising=False)
    put(store, entry("a"))
    (store.folder / LIST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=r"installed\.json: the list of installed models is damaged; remove it"):
        store.change(lambda each: each)
    assert load(None, store.folder.parent).path == models.BUNDLED
    assert "damaged" in caplog.text
    assert f"going on with {models.BUNDLED}" in caplog.text
    assert store.slot(entry("a")).exists()  # a person may still want it


def test_a_list_or_a_folder_that_cannot_be_used_is_named(store: ModelStore) -> None:
    store.folder.parent.mkdir()
    store.folder.write_bytes(b"")
    with pytest.raises(ModelError, match=r"cannot be read \(Not a directory\); check that disk"):
        store.read()
    with pytest.raises(OptionError, match=r"no models can be installed there \(File exists\)"):
        store.change(lambda each: each)


def test_two_programs_that_change_the_list_lose_nothing(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def count() -> None:
        for _ in range(25):
            ModelStore(store.folder).change(lambda each: replace(each, serial=each.serial + 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read().serial == 75
    monkeypatch.setattr(model_store, "WAIT_S", 0.1)

    def meanwhile(each: Installed) -> Installed:
        with pytest.raises(OptionError, match="another program is changing the models"):
            ModelStore(store.folder).change(lambda other: other)
        return each

    store.change(meanwhile)
    with store.updating():
        store.change(lambda each: each)  # an update at work does not keep a person from going back
        with pytest.raises(OptionError, match="another program"), ModelStore(store.folder).updating():
            pass
