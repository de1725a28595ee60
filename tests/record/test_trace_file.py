"""The trace's file: rotated, half written, full, read-only or hanging; and nobody waits for it."""

from __future__ import annotations

import errno
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import OptionError
from edge.record.trace import Trace, old
from edge.record.trace_query import read_trace
from tests.record.test_trace import indexes, kinds, look, moment, soon, told


def test_the_file_is_rotated_and_one_old_one_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.FILE_BYTES", 20_000)
    path = tmp_path / "t.jsonl"
    trace = Trace(path)
    for index in range(1000):
        trace(moment(index, live=False))
    assert trace.close(5.0)
    assert sorted(tmp_path.iterdir()) == [path, old(path)]
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 20_000
    kept = indexes(old(path)) + indexes(path)
    assert kept == list(range(kept[0], 1000))
    assert len(kept) > 100
    assert all(kinds(file)["start"] == 1 for file in tmp_path.iterdir())
    (run,) = read_trace(path)  # both files are one run
    assert [m.index for m in run.moments] == kept


def test_a_moment_that_was_written_twice_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.HEARTBEAT_S", 5.0)
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(100):
        trace(moment(index, scored=(look(0.1),)))  # the best of each five seconds is written by itself
    trace.flush("asked")
    assert trace.close(5.0)
    assert len(indexes(trace.path)) > 100
    (run,) = read_trace(trace.path)
    assert [made.index for made in run.moments] == list(range(100))


def test_half_a_line_after_a_power_cut_costs_that_line(tmp_path):
    path = tmp_path / "t.jsonl"
    for _ in range(2):
        trace = Trace(path)
        for index in range(5):
            trace(moment(index, live=False))
        assert trace.close(5.0)
        with path.open("ab") as file:
            file.write(b'{"schema_version":1,"kind":"mom')
    trace = Trace(path)
    trace(moment(5, live=False))
    assert trace.close(5.0)
    runs = read_trace(path)
    assert [len(run.moments) for run in runs] == [5, 5, 1]
    assert len({run.run_id for run in runs}) == 3


def test_a_file_that_is_no_trace_is_left_alone(tmp_path):
    path = tmp_path / "bear.mp4"
    path.write_bytes(b"\0\0\0\x20ftypisom")
    with pytest.raises(OptionError, match="is no trace, and nothing is appended"):
        Trace(path)
    assert path.stat().st_size == 12
    for place in (tmp_path, path / "t.jsonl"):
        with pytest.raises(OptionError, match="cannot write a trace there"):
            Trace(place)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_logged_once_and_tried_again(tmp_path, monkeypatch, caplog):
    path = tmp_path / "t.jsonl"
    path.symlink_to("/dev/full")
    monkeypatch.setattr("edge.record.trace.RETRY_S", 0.05)
    monkeypatch.setattr("edge.record.trace.WRITE_EACH_S", 0.0)
    trace = Trace(path)
    with caplog.at_level(logging.WARNING):
        for index in range(200):
            trace(moment(index, live=False))
            time.sleep(0.001)
        trace.flush("asked")
        soon(lambda: "cannot be written" in caplog.text)
        assert caplog.text.count("No space left on device") == 1
        path.unlink()  # the disk has room again
        for index in range(200, 300):
            trace(moment(index, live=False))
        assert trace.close(5.0)
    assert "the trace is written again" in caplog.text
    assert len(caplog.records) == 2
    assert indexes(path) == list(range(300))
    assert trace.lost == 0


def test_what_a_full_disk_took_of_a_batch_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.RETRY_S", 0.0)
    trace = Trace(tmp_path / "t.jsonl")
    trace.path.write_bytes(b"")
    opened = trace._file._open

    class Filling:
        """A file on a disk with room for 100 bytes."""

        def __init__(self):
            self.file, self.room = opened(), 100

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room = 0
            return self.file.write(bytes(data[:100]))

    with monkeypatch.context() as patched:
        patched.setattr(trace._file, "_open", Filling)
        for index in range(50):
            trace(moment(index, live=False))
        soon(lambda: trace._failing)
    assert trace.path.stat().st_size == 0
    assert trace.close(5.0)
    assert indexes(trace.path) == list(range(50))


def test_a_disk_that_stays_full_costs_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.BACKLOG_BYTES", 50_000)
    trace = Trace(tmp_path / "t.jsonl")

    def full(lines):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trace._file, "append", full)
    for index in range(3000):
        trace(moment(index, live=False))
    assert not trace.close(5.0)
    assert trace.lost > 2000
    assert sum(map(len, trace._due)) <= 50_000


def test_nobody_waits_for_the_disk(tmp_path, monkeypatch):
    trace = Trace(tmp_path / "t.jsonl")
    go, began = threading.Event(), threading.Event()

    def slow(lines):
        began.set()
        go.wait(10.0)
        lines.clear()

    monkeypatch.setattr(trace._file, "append", slow)
    try:
        for index in range(200):
            trace(moment(index, events=(told(id_=str(index)),)))
        assert began.wait(5.0)
        trace.flush("asked")
        trace(moment(200, events=(told(),)))  # comes back while the disk hangs
        assert not trace.close(0.05)
    finally:
        go.set()


def test_a_read_only_file_system_lets_the_alarm_start(tmp_path, monkeypatch, caplog):
    def read_only(self, *_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", read_only)
        trace = Trace(tmp_path / "t.jsonl")
        trace(moment(0, live=False))
        assert not trace.close(5.0)
    assert "Read-only file system" in caplog.text


def test_a_line_never_fails_for_a_camera_s_name(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    trace(replace(moment(0, live=False), camera="h\udcffve"))
    assert trace.close(5.0)
    assert read_trace(trace.path)[0].moments[0].index == 0
