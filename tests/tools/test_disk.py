"""Making a folder on a disk that may not answer."""

import threading
from pathlib import Path

import pytest

from edge.files import make_folder, mistaken


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
