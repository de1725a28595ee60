"""The state folder's place: a setting beats the default, and no relative path depends on the working folder."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from edge.errors import OptionError
from edge.files import made_state_folder, state_folder

VARIABLES = ("BEAR_ALARM_STATE", "STATE_DIRECTORY", "XDG_STATE_HOME")


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="the places of the XDG specification")
def test_what_is_set_last_gives_way_to_what_is_set_first(monkeypatch, tmp_path):
    assert state_folder() == tmp_path / "home" / ".local" / "state" / "bear-alarm"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "xdg" / "bear-alarm"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/bear-alarm:/var/lib/other")
    assert state_folder() == Path("/var/lib/bear-alarm")
    monkeypatch.setenv("BEAR_ALARM_STATE", "~/bears")
    assert state_folder() == tmp_path / "home" / "bears"
    assert state_folder(Path("here")) == tmp_path / "here"


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="the places of the XDG specification")
@pytest.mark.parametrize("name", VARIABLES)
def test_what_is_empty_or_makes_no_sense_counts_for_nothing(name, monkeypatch, tmp_path):
    monkeypatch.setenv(name, "")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # to be ignored by its specification
    assert state_folder() == tmp_path / "home" / ".local" / "state" / "bear-alarm"


def test_a_user_without_a_home_learns_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OptionError, match=r"set \$BEAR_ALARM_STATE to a folder"):
        state_folder()


def test_a_disk_that_is_broken_stops_no_alarm(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "exists", broken)
    monkeypatch.setattr(Path, "mkdir", broken)
    assert made_state_folder(tmp_path / "card" / "bear") == tmp_path / "card" / "bear"


def test_a_folder_that_may_not_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="no journal can be kept there"):
        made_state_folder(tmp_path / "file" / "state")
