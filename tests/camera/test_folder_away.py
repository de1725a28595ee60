"""What cannot be read or listed for a while: nothing is given up in silence, and nothing old comes again as new."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
from pathlib import Path

import pytest

from edge.camera import processed_files as seen
from edge.camera.folder import FolderScanner
from edge.camera.processed_files import ProcessedFiles
from tests.camera.test_folder_scan import arrived, begun
from tests.helpers.uploads import put

REAL = Path.read_bytes


@pytest.fixture(autouse=True)
def _heard(caplog):
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError(), RuntimeError("ours")])
def test_what_cannot_be_read_is_tried_again_ever_more_seldom_and_said_once(error, tmp_path, monkeypatch, caplog):
    inbox, state, tries = tmp_path / "inbox", tmp_path / "seen.txt", list[float]()
    inbox.mkdir()
    watching = begun(inbox, seen=ProcessedFiles(inbox, state))
    put(inbox / "bear.jpg")

    def failing(path):
        if path.name == "bear.jpg":
            tries.append(now)
            raise error
        return REAL(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        for now in range(1, 4000):
            assert arrived(watching, float(now)) == []
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300
    assert len(caplog.messages) == 1
    assert "bear.jpg: cannot be read" in caplog.messages[0]
    assert "tried again" in caplog.messages[0]
    watching.seen.close()
    assert not ProcessedFiles(inbox, state).marks
    assert arrived(watching, 4300.0) == ["bear.jpg"]
    assert arrived(watching, 4700.0) == []


def test_one_that_cannot_be_asked_for_hides_none_beside_it(tmp_path, caplog):
    (tmp_path / "cam1").mkdir()
    watching = begun(tmp_path)
    for folder in (tmp_path, tmp_path / "cam1"):
        (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
        for number in range(20):
            put(folder / f"bear{number}.jpg")
    found = [name for now in range(1, 6) for name in arrived(watching, float(now))]
    assert sorted(found) == sorted(2 * [f"bear{number}.jpg" for number in range(20)])
    assert len(caplog.messages) == 1
    assert "loop.jpg: cannot be asked for (Too many levels of symbolic links)" in caplog.messages[0]


def test_a_folder_that_may_not_be_listed_is_said_once_but_for_lost_and_found(tmp_path, monkeypatch, caplog):
    for name in ("private", "lost+found"):
        (tmp_path / name).mkdir()
    real = os.scandir

    def scandir(path):
        if str(path) != str(tmp_path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    watching = begun(tmp_path)
    for now in range(1, 5):
        arrived(watching, float(now))
    assert [message.partition(": ")[0] for message in caplog.messages] == [str(tmp_path / "private")]


@pytest.mark.parametrize("bare", [False, True])  # its empty mount point may be left
def test_a_sub_folder_that_is_away_for_hours_does_not_come_again(bare, tmp_path):
    inbox, away, state = tmp_path / "inbox", tmp_path / "away", tmp_path / "seen.txt"
    (inbox / "cam1").mkdir(parents=True)
    watching = begun(inbox, seen=ProcessedFiles(inbox, state))
    for number in range(50):
        put(inbox / "cam1" / f"{number}.jpg")
    put(inbox / "cam2" / "x.jpg")
    assert len(arrived(watching, 1.0) + arrived(watching, 2.0)) == 51
    (inbox / "cam1").rename(away)
    if bare:
        (inbox / "cam1").mkdir()
    for now in (3.0, 1000.0, 80_000.0):
        assert arrived(watching, now) == []
    for mark in watching.seen.marks.copy():
        watching.seen.looked_at(mark)
    watching.seen.close()
    shutil.rmtree(inbox / "cam1", ignore_errors=True)
    again = FolderScanner(inbox, seen=ProcessedFiles(inbox, state))  # a restart meanwhile
    assert arrived(again, 10.0) == []
    away.rename(inbox / "cam1")
    put(inbox / "cam1" / "new.jpg")
    for each, now in ((watching, 80_100.0), (again, 100.0)):
        assert arrived(each, now) + arrived(each, now + 1.0) == ["new.jpg"]


def test_what_is_gone_for_good_is_forgotten_after_a_day(tmp_path):
    put(tmp_path / "cam1" / "a.jpg")
    put(tmp_path / "cam2" / "b.jpg")
    watching = begun(tmp_path)
    shutil.rmtree(tmp_path / "cam1")
    watching.look(1.0)
    watching.look(seen.MISSING_S)
    assert len(watching.seen.marks) == 2
    watching.look(seen.MISSING_S + 1.0)
    assert len(watching.seen.marks) == 1
    watching.look(seen.MISSING_S + 2.0)
    assert not watching.seen._missing
