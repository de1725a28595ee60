"""Events as lines of JSON: whole lines, on the disk, in the file of that name, whatever becomes of disk and file."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.alert.alerting import JsonLines
from edge.errors import OptionError
from edge.files import mistaken
from edge.schema import Event
from tests.helpers.sink_world import event
from tests.helpers.small_disk import fill, remount, there


def seqs(path):
    return [Event.from_json(line).seq for line in Path(path).read_text().splitlines()]


def test_jsonl_appends_durable_lines_and_mends_a_torn_one(tmp_path):
    path = tmp_path / "logs" / "events.jsonl"
    sink = JsonLines(str(path))
    sink(event())
    sink.close()
    path.write_bytes(path.read_bytes() + b'{"kind":"be')
    sink = JsonLines(str(path))
    sink(event("end", seq=2))
    sink.close()
    first, torn, last = path.read_text().splitlines()
    assert torn == '{"kind":"be'
    assert [Event.from_json(line).durable for line in (first, last)] == [True, True]
    assert Event.from_json(last).type == "end"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_jsonl_on_a_disk_that_is_full_for_a_while_tears_one_line_at_most(tmp_path):
    # The largest size a file may have is a full disk as the sink sees it: a short write, then an error.
    code = """
import resource, signal, sys
from edge.schema import Event
from edge.alert.alerting import JsonLines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = sys.argv[1]
def event(seq):
    return Event("bear", "new", "id", seq, "run", "yard", "2026-01-01T00:00:00.000Z")
sink = JsonLines(path)
sink(event(1))
size = len(open(path, "rb").read())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
for seq in (2, 3):
    try:
        sink(event(seq))
    except OSError as error:
        print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink(event(4))
sink(event(5))
"""
    path = tmp_path / "events.jsonl"
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout.split(), ran.stderr) == (["OSError", "OSError"], "")
    first, torn, *rest = path.read_text().splitlines()
    assert [Event.from_json(line).seq for line in (first, *rest)] == [1, 4, 5]
    assert len(torn) == 100


def test_jsonl_on_standard_output(capsys):
    JsonLines("-")(event())
    assert Event.from_json(capsys.readouterr().out.strip()) == event()


def test_jsonl_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(OptionError, match="cannot write events"):
        JsonLines(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot write events"):
        JsonLines(str(tmp_path / "file" / "events.jsonl"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved there")
@pytest.mark.parametrize("gone", ["moved", "deleted", "copied over"])
def test_a_file_that_was_rotated_away_is_begun_again(tmp_path, gone):
    path = tmp_path / "events.jsonl"
    sink = JsonLines(str(path))
    sink(event(seq=1))
    if gone == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "events.jsonl.1")
    if gone == "copied over":
        path.write_text("")
    sink(event(seq=2))
    sink(event(seq=3))
    sink.close()
    assert seqs(path) == [2, 3]
    assert gone == "deleted" or seqs(tmp_path / "events.jsonl.1") == [1]


def begun_on_a_bad_disk(disk):
    """Read-only at the start, then full, then well."""
    path = f"{disk}/logs/events.jsonl"
    found = []
    remount(disk, "ro")
    sink = JsonLines(path)
    found.append(sink.problem)
    for how in ("ro", "full", "well"):
        if how == "full":
            remount(disk, "rw")
            fill(disk)
        elif how == "well":
            Path(disk, "filler").unlink()
        try:
            sink(event(seq=len(found)))
            found.append(sink.problem)
        except OSError as error:
            found.append(str(error))
    return [found, seqs(path)]


@pytest.mark.needs_tool("unshare")
def test_a_disk_that_takes_nothing_at_the_start_stops_nothing_and_is_tried_again(tmp_path):
    disk = tmp_path / "disk"
    (first, read_only, full, well), kept = there(begun_on_a_bad_disk, disk, 256)
    assert first == read_only == f"{disk}/logs/events.jsonl: cannot write events there (Read-only file system)"
    assert "full" in full or "No space" in full
    assert well is None
    assert kept == [3]


@pytest.mark.parametrize(
    ("number", "never"),
    [(errno.EISDIR, True), (errno.ENOTDIR, True), (errno.EROFS, False), (errno.EIO, False), (errno.EACCES, False)],
)
def test_what_may_be_well_again_tomorrow_is_no_mistake(number, never):
    assert mistaken(OSError(number, os.strerror(number))) == never


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_to_where_no_disk_is_mounted_now_is_no_mistake(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mnt" / "disk")
    with pytest.raises(FileExistsError) as raised:
        link.mkdir(exist_ok=True)
    assert not mistaken(raised.value)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as raised:
        (tmp_path / "file").mkdir()
    assert mistaken(raised.value)
