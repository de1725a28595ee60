"""Folders and files on a disk that may not answer, or where somebody else may write."""

import os
import threading
from pathlib import Path

import pytest

from edge.errors import OptionError
from edge.files import make_folder, mistaken, replace_whole


def test_a_folder_is_made_with_those_above_it(tmp_path):
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        make_folder(tmp_path / "file" / "c")
    assert mistaken(caught.value)


def test_a_disk_that_hangs_is_not_waited_for_and_may_be_well_tomorrow(monkeypatch, tmp_path):
    go = threading.Event()
    monkeypatch.setattr("edge.files.MAKE_S", 0.05)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: go.wait(30.0))
    with pytest.raises(TimeoutError, match=r"has not answered for 0\.05 s") as caught:
        make_folder(tmp_path / "share")
    go.set()
    assert not mistaken(caught.value)


def test_a_file_is_never_written_through_a_link_that_lies_in_its_place(tmp_path):
    (secret := tmp_path / "secret").write_text("theirs")
    (tmp_path / f".list.{os.getpid()}.part").symlink_to(secret)
    replace_whole(tmp_path / "list", b"ours")
    assert (secret.read_text(), (tmp_path / "list").read_text()) == ("theirs", "ours")
    assert not (tmp_path / "list").is_symlink()


def test_a_place_that_can_never_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="cannot be written"):
        replace_whole(tmp_path / "file" / "list", b"")
