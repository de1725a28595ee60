"""Whether the clock is right, how that is known, and what a run learns of it."""

import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from edge.record import run as clocks
from edge.record.history import ReadOnly
from edge.record.history import Times as Corrected
from edge.record.run import Clock, EventFactory
from edge.schema import Event, utc_text
from tests.helpers.journal_stage import MQTT, Times, Wants, ask, event, journal


def run_row(folder):
    """Return what the journal knows of the clock of its only run."""
    columns = "started_at, clock_synced, clock_how, synced_at, offset_s"
    return ask(folder, f"SELECT {columns} FROM runs")[0]


def test_the_clock_that_is_set_during_a_run_corrects_its_earlier_events(tmp_path):
    times = Times(synced=False)
    run = EventFactory(clock_synced=times.clock.synced)
    kept = journal(tmp_path, run=run, clock=times.clock)
    early = kept(event(run))
    assert early.clock_synced is False
    assert run_row(tmp_path) == ("2026-05-01T00:00:00.000Z", 0, "by hand", None, None)
    times.pass_(90)
    times.set_clock(3600.5)
    kept(event(run, "id2"))  # set, but nothing says so yet
    assert run_row(tmp_path)[3:] == (None, None)
    times.pass_(10)
    times.is_synced = True
    late = kept(event(run, "id3"))
    assert late.clock_synced is True
    started_at, synced, _, synced_at, offset_s = run_row(tmp_path)
    assert (started_at, synced, synced_at) == ("2026-05-01T00:00:00.000Z", 1, "2026-05-01T01:01:40.500Z")
    assert offset_s == pytest.approx(3600.5)
    times.set_clock(7)
    times.pass_(600)
    kept.beat()
    assert run_row(tmp_path)[4] == pytest.approx(3600.5)  # the first time counts
    kept.close()


def test_a_clock_that_is_right_from_the_start_has_nothing_to_correct(tmp_path):
    times = Times(synced=True)
    kept = journal(tmp_path, run=EventFactory(clock_synced=times.clock.synced), clock=times.clock)
    assert run_row(tmp_path)[1:] == (1, "by hand", "2026-05-01T00:00:00.000Z", 0.0)
    kept.close()


def test_a_system_that_does_not_report_leaves_it_open(tmp_path):
    times = Times(synced=None)
    kept = journal(tmp_path, run=EventFactory(clock_synced=times.clock.synced), clock=times.clock)
    assert run_row(tmp_path)[1:] == (None, "by hand", None, None)
    kept.close()


def test_the_system_is_asked_once_a_second_at_most():
    asked, now = [], [5.0]

    def ask_it():
        asked.append(now[0])
        return False, "by hand"

    clock = Clock(ask_it, monotonic=lambda: now[0])
    for now[0] in (5.0, 5.1, 5.9, 6.05, 6.5):
        assert clock.synced() is False
    assert asked == [5.0, 6.05]


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex is Linux's")
def test_linux_is_asked_by_adjtimex_and_answers_any_user():
    clock = Clock()
    assert clock.synced() in (True, False)
    assert clock.how.startswith("adjtimex: ")
    before = clock.monotonic()
    assert clock.monotonic() >= before


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex is Linux's")
def test_how_the_kernels_answer_is_read(monkeypatch):
    import ctypes

    def kernel(status, error_us, result=0):
        def adjtimex(timex):
            timex._obj.status, timex._obj.maxerror = status, error_us
            ctypes.set_errno(1)
            return result

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: type("libc", (), {"adjtimex": staticmethod(adjtimex)}))
        clock = Clock()
        return clock.synced(), clock.how

    assert kernel(0x2001, 250_000) == (True, "adjtimex: right within 0.2 s")
    assert kernel(0x40, 16_000_000, 5) == (False, "adjtimex: nothing keeps the clock")
    assert kernel(0, 0, -1) == (None, "adjtimex is refused (Operation not permitted)")


def test_elsewhere_nothing_reports_it(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    clock = Clock()
    assert (clock.synced(), clock.how) == (None, clocks.UNKNOWN)
    assert clock.monotonic() > 0


@pytest.mark.parametrize("step_s", [-1800.0, 4.0, 3600.0])
def test_an_event_between_the_step_and_the_systems_word_for_it_is_not_corrected_twice(tmp_path, step_s):
    times = Times(synced=False)
    run = EventFactory(clock_synced=times.clock.synced)
    kept = journal(tmp_path, run=run, clock=times.clock)
    truly = []
    for id_, pass_s, set_s in (("before", 60, step_s), ("between", 20, 0.0), ("after", 40, 0.0)):
        times.pass_(pass_s)
        times.is_synced = id_ == "after"
        kept(replace(event(run, id_), captured_at=utc_text(times.now)))
        truly.append(times.now + timedelta(seconds=step_s if id_ == "before" else 0.0))
        times.set_clock(set_s)
    kept.close()
    with ReadOnly(tmp_path / "journal.db") as file:
        corrected = Corrected(file)
        events = [Event.from_json(line) for (line,) in file.rows("SELECT json FROM events ORDER BY id")]
        found = [corrected(each) for each in events]
    assert [at for at, _ in found] == truly
    assert [clock for _, clock in found] == ["corrected", "unknown", "right"]


def test_a_clock_that_drifts_was_not_set():
    times = Times(synced=False)
    times.clock.synced()
    for _ in range(100):
        times.pass_(600.0)
        times.set_clock(0.3)  # 500 parts in a million
        assert times.clock.synced() is False
    times.set_clock(-5.0)
    assert times.clock.synced() is None


def test_a_clock_that_starts_behind_the_last_run_does_not_stop_its_rows_from_growing_old(tmp_path):
    before = journal(tmp_path, Wants(MQTT))
    before(event(EventFactory()))
    before.close()  # by this machine's own clock, after the one below
    times = Times(synced=False)
    kept = journal(tmp_path, Wants(MQTT), clock=times.clock)
    assert [row.age_s for row in kept.waiting(MQTT)] == [0.0]
    times.pass_(90)
    kept(event(EventFactory(), "id2"))
    times.pass_(30)
    assert [row.age_s for row in kept.waiting(MQTT)] == [120.0, 30.0]
    kept.close()
