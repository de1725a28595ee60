"""The folder that `bear-alarm phone DIR` writes: its files, what it refuses, and --update."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from edge.errors import OptionError
from edge.phone import folder as app_folder
from tests.helpers.command import Ran, bear_alarm
from tests.helpers.phone_server import FILES, WASM, stand_in
from tests.helpers.tiny import model_bytes, older_card, tiny_card


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A packaged app that stands in for the built one."""
    monkeypatch.setattr(app_folder, "APP", stand_in(tmp_path / "package"))
    return app_folder.APP


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model."""
    (tmp_path / "bear.onnx").write_bytes(model_bytes(tiny_card()))
    return tmp_path / "bear.onnx"


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones included."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(ran: Ran) -> str:
    """The one sentence of a command that was refused."""
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    return ran.stderr.removeprefix("bear-alarm: ")


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_holds_the_app_unpacked_and_the_model_under_its_digest(tmp_path: Path, model: Path, there: bool):
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / ".bear-alarm.part").mkdir()
        (out / ".bear-alarm.part" / "app.js").write_text("of a run that was killed")
    ran = bear_alarm("phone", out, "--model", model)
    assert ran.returncode == 0, ran.stderr
    assert "HTTPS" in ran.stdout
    assert "--serve" in ran.stdout
    assert "Ready, also without signal" in ran.stdout
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    name = f"model-{sha256[:12]}.onnx"
    held = files(out)
    told = json.loads(held.pop("model.json"))
    assert told == {"name": f"tiny@{sha256[:12]}", "file": name, "sha256": sha256, "bytes": model.stat().st_size}
    written = json.loads(held.pop("written.json"))
    assert held == FILES | {"run.wasm": WASM, name: model.read_bytes()}
    assert {each: hashlib.sha256(data).hexdigest() for each, data in held.items()} == {
        each: digest for each, digest in written.items() if each != "model.json"
    }
    assert {path.name for path in tmp_path.iterdir()} == {"out", "package", "bear.onnx"}


@pytest.mark.usefixtures("app")
def test_other_users_may_read_what_a_web_host_is_given(tmp_path: Path, model: Path):
    if os.name != "posix":
        pytest.skip("no modes on this system")
    before = os.umask(0o022)
    try:
        app_folder.write(tmp_path / "out", model)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]}
    assert modes == {0o755, 0o644}


@pytest.mark.usefixtures("app")
def test_without_a_model_named_the_usual_one_is_taken(tmp_path: Path, model: Path):
    ran = bear_alarm("phone", "out", cwd=tmp_path, BEAR_ALARM_MODEL=str(model))
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "out" / "model.json").read_bytes())["bytes"] == model.stat().st_size


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("more", [[], ["--update"]])
def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path, model: Path, more: list[str]):
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    said = refused(bear_alarm("phone", out, "--model", model, *more))
    assert "not empty" in said
    assert files(out) == {"letter.txt": b"mine"}


@pytest.mark.usefixtures("app")
def test_a_folder_written_before_is_only_brought_up_to_date_where_that_is_asked_for(tmp_path: Path, model: Path):
    out = tmp_path / "out"
    assert bear_alarm("phone", out, "--model", model).returncode == 0
    before = files(out)
    assert "--update" in refused(bear_alarm("phone", out, "--model", model))
    assert files(out) == before


def test_update_replaces_our_files_removes_old_ones_and_leaves_all_others(tmp_path: Path, app: Path, model: Path):
    out = tmp_path / "out"
    app_folder.write(out, model)
    (out / "icons" / "mine.txt").write_text("mine")
    (out / "app.js").write_text("changed by hand")
    old_model = next(out.glob("model-*.onnx"))
    (app / "app.css").unlink()
    (app / "new.js").write_text("new")
    model.write_bytes(model_bytes(tiny_card()) + b"\x72\x00")  # another file, by an empty field of metadata
    ran = bear_alarm("phone", out, "--model", model, "--update")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{out}: brought up to date, ")
    assert "Copy the folder again" in ran.stdout
    assert "home screen" not in ran.stdout, "the steps of a first time"
    held = files(out)
    assert held["icons/mine.txt"] == b"mine"
    assert held["app.js"] == FILES["app.js"]
    assert held["new.js"] == b"new"
    assert "app.css" not in held
    assert not old_model.exists()
    assert held[json.loads(held["model.json"])["file"]] == model.read_bytes()
    assert set(json.loads(held["written.json"])) == held.keys() - {"icons/mine.txt", "written.json"}


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    "listed", ["{", "[]", "{}", '{"../letter.txt": ""}', '{"/etc/hosts": ""}', '{"..\\\\letter.txt": ""}']
)
def test_update_removes_nothing_outside_the_folder(tmp_path: Path, model: Path, listed: str):
    out = tmp_path / "out"
    app_folder.write(out, model)
    (tmp_path / "letter.txt").write_text("mine")
    (out / "written.json").write_text(listed)
    before = files(out)
    assert "damaged" in refused(bear_alarm("phone", out, "--model", model, "--update"))
    assert files(out) == before
    assert (tmp_path / "letter.txt").read_text() == "mine"


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (model_bytes(None), "carries no bear-alarm card"),
        (model_bytes(older_card()), "made by an older version"),
        (model_bytes(tiny_card())[:300], "not an ONNX model"),
        (b"", "is empty"),
        (None, "no such model file"),
    ],
)
def test_a_model_that_a_phone_cannot_use_is_refused_with_one_sentence(tmp_path: Path, data: bytes | None, said: str):
    model = tmp_path / "bear.onnx"
    if data is not None:
        model.write_bytes(data)
    assert said in refused(bear_alarm("phone", tmp_path / "out", "--model", model))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("way", ["new", "empty", "update"])
def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    out = tmp_path / "out"
    if way == "empty":
        out.mkdir()
    elif way == "update":
        app_folder.write(out, model)
    before = sorted(tmp_path.rglob("*"))
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OptionError, match="No space left"):
        app_folder.write(out, model, update=way == "update")
    assert len(synced) == 5
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_words_and_places_are_one_sentence_each(tmp_path: Path, app: Path, model: Path):
    (tmp_path / "file").write_text("mine")
    assert "is no folder" in refused(bear_alarm("phone", tmp_path / "file", "--model", model))
    assert (tmp_path / "file").read_text() == "mine"
    assert "there is no folder" in refused(bear_alarm("phone", tmp_path / "no" / "out", "--model", model))
    assert "name a folder" in refused(bear_alarm("phone"))
    for option, value in (("--host", "127.0.0.1"), ("--port", 8443), ("--http-port", 8080)):
        said = refused(bear_alarm("phone", tmp_path / "out", "--model", model, option, value))
        assert said == f"{option} belongs to --serve; give --serve too\n"
    for more in ([], ["--serve"]):
        assert "--update needs the folder" in refused(bear_alarm("phone", "--update", *more))
    (app / "index.html").unlink()
    assert "no web app" in refused(bear_alarm("phone", tmp_path / "out", "--model", model))
    assert not (tmp_path / "out").exists()
