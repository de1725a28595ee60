"""tests/helpers/make_phone_app.py: what it packs is what was built, and a difference is named."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from edge.phone import folder
from tests.helpers.make_phone_app import SOURCE, differences, pack

LICENSES, NOTICES = "LICENSES.txt", "ThirdPartyNotices.txt"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built app, packed."""
    made = tmp_path / "built"
    (made / "icons").mkdir(parents=True)
    (made / "index.html").write_text("<!DOCTYPE html>")
    (made / "icons" / "icon.svg").write_text("<svg/>")
    (made / "ort.wasm").write_bytes(b"\0asm" + bytes(100_000))
    (made / "notices.txt.xz").write_bytes(lzma.compress(b"notices"))
    monkeypatch.setattr(folder, "APP", tmp_path / "app")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "old.js").write_text("of an older build")
    pack(made)
    return made


def test_what_is_packed_is_small_and_unpacks_to_what_was_built(built: Path):
    assert {path.relative_to(folder.APP).as_posix() for path in folder.APP.rglob("*.*")} == {
        "index.html",
        "icons/icon.svg",
        "ort.wasm.xz",
        "notices.txt.xz",
    }
    assert (folder.APP / "ort.wasm.xz").stat().st_size < 1000
    assert folder.app_files()["ort.wasm"] == (built / "ort.wasm").read_bytes()
    assert folder.app_files()["notices.txt"] == b"notices"
    assert differences(built) == []


def test_every_difference_is_named(built: Path):
    (built / "ort.wasm").write_bytes(b"\0asm another")
    (built / "new.js").write_text("new")
    (built / "icons" / "icon.svg").unlink()
    found = differences(built)
    assert [line.partition(":")[0] for line in found] == ["icons/icon.svg", "new.js", "ort.wasm"]


def test_the_notices_of_what_onnxruntime_is_made_of_are_there_and_no_phone_has_to_keep_them():
    files = folder.app_files()
    notices = files[NOTICES].decode()
    for library in ("protocolbuffers/protobuf", "google/re2", "abseil-cpp", "google/XNNPACK", "google/flatbuffers"):
        assert library in notices, library
    assert "Mozilla Public License Version 2.0" in notices
    assert NOTICES in files[LICENSES].decode()
    assert LICENSES in files["sw.js"].decode()
    assert NOTICES not in files["sw.js"].decode()


def test_the_licences_are_those_of_the_libraries_that_are_built_in():
    text = (SOURCE / "static" / LICENSES).read_text(encoding="utf-8")
    assert (folder.APP / LICENSES).read_text(encoding="utf-8") == text
    for owner in ("Copyright (c) Microsoft Corporation", "Jake Archibald", "Arjun Barrett"):
        assert owner in text
    for library in ("idb", "fflate"):
        own = SOURCE / "node_modules" / library / "LICENSE"
        if own.is_file():  # after `npm ci`
            assert own.read_text(encoding="utf-8").strip() in text
