"""The doctor's round: nothing crashes or holds it up, and its findings can be read and acted on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from edge.cli.doctor.child import call, run
from edge.cli.doctor.command import Check, run_checks
from edge.cli.doctor.findings import Target, broken, doubt, fine, lines_of, unknown, verdict
from edge.settings import Settings
from tests.helpers.broker import until
from tests.helpers.sink_world import alive
from tests.helpers.small_disk import ROOT


def test_a_check_that_raises_or_hangs_is_a_finding_and_the_others_go_on():
    held = threading.Event()

    def raises(_):
        yield fine("half", "went well")
        raise RuntimeError("at https://user:pass@host.example/secret")

    def hangs(_):
        held.wait(30.0)
        yield fine("late", "too late")

    def works(_):
        yield doubt("card", "is old", "take another")

    checks = [Check("Group", "raiser", raises), Check("Group", "hanger", hangs, 0.05), Check("Group", "worker", works)]
    found = list(run_checks(Target(Settings()), checks))
    held.set()
    assert [(each.name, each.state) for each in found] == [
        ("half", "fine"), ("raiser", "broken"), ("hanger", "unknown"), ("card", "doubt"),
    ]  # fmt: skip
    assert "an internal error (RuntimeError: at https://***@host.example/***)" in found[1].words
    assert "no answer within 0.05 s" in found[2].words
    assert {each.group for each in found} == {"Group"}


@pytest.mark.skipif(os.name != "posix", reason="an alarm of POSIX")
def test_a_child_that_hangs_ends_by_itself_where_the_doctor_was_killed(tmp_path):
    code = (
        "import os; from edge.cli.doctor import child; child.SPARE_S = 0.0; print(os.getpid(), flush=True); "
        f"child.call('tests.helpers.doctor_child:main', {{'hang': {str(tmp_path / 'pid')!r}}}, 8.0)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL) as doctor:
        assert until((tmp_path / "pid").exists)
        doctor.kill()
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    assert until(lambda: not alive(child))


def test_the_verdict_counts_and_names():
    one = [fine("a", ""), broken("disk", "x", "y"), doubt("clock", "x", "y"), broken("disk", "z", "y")]
    assert verdict(one) == "2 broken, 1 in doubt: disk, clock."
    assert verdict([fine("a", ""), unknown("b", "no such thing")]) == "All is well."
    assert verdict([unknown("b", "not seen", "look there")]) == "Nothing is wrong; one thing could not be looked at."


def test_lines_have_a_mark_the_words_and_below_what_to_do():
    finding = broken("camera yard", "gives nothing, " + "for a long while " * 6, "check its plug")
    lines = lines_of(finding, 60, colour=False)
    assert lines[0].startswith("  ✗ camera yard     BROKEN: gives nothing")
    assert lines[-1].strip() == "→ check its plug"
    assert all(len(line) <= 60 for line in lines)
    assert "\033[1;31m✗" in lines_of(finding, 60, colour=True)[0]


def test_a_name_longer_than_its_column_does_not_run_into_the_words():
    (line,) = lines_of(fine("relay 17:30:low:blink", "is free"), 90, colour=False)
    assert "blink  is free" in line


def test_a_child_answers_and_its_question_is_not_on_the_command_line(monkeypatch):
    secret = "rtsp://user:pass@host"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ended = call("tests.helpers.doctor_child:main", {"echo": secret}, 60.0)
    assert ended.answer["echo"] == secret
    assert secret not in ended.answer["command"]
    assert call("tests.helpers.doctor_child:main", {"raise": "no camera here"}, 60.0).why.endswith("no camera here)")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_how_a_child_died_is_put_into_words():
    def killed_by(number):
        return run(["sh", "-c", f"kill -{int(number)} $$"], 20.0)

    assert killed_by(signal.SIGILL).signal == "SIGILL"
    assert "illegal instruction" in killed_by(signal.SIGILL).why
    assert "for want of memory" in killed_by(signal.SIGKILL).why
    assert run(["sh", "-c", "echo 'first'; echo 'the last words' >&2; exit 3"], 20.0).why == "fails (the last words)"
    assert run(["sh", "-c", "exit 3"], 20.0).why == "fails (exit code 3)"
    assert run(["sh", "-c", "exit 3"], 20.0).answer is None


@pytest.mark.skipif(os.name != "posix", reason="sessions")
def test_a_child_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    pid = tmp_path / "pid"
    ended = run(["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], 1.0)
    assert ended.code is None
    assert ended.why == "took longer than 1 s"
    number = int(pid.read_text())
    assert until(lambda: not alive(number))
