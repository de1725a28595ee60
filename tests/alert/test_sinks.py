"""The bell and a command, and what each of them wants to hear; and a box drawn on a picture."""

import json
import os
import sys
import time
from io import StringIO

import numpy as np
import pytest

from edge.alert import local_sinks
from edge.alert.local_sinks import Command, CommandError, TerminalBell, variables
from edge.background import in_background
from edge.detect.zones import Zone
from edge.drawing import ALARM, Mark, annotate
from tests.helpers.sink_world import event, soon


def test_the_bell_rings_for_a_new_bear_and_a_new_trouble_at_a_terminal_only(monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), StringIO()
    for stream in (terminal, file):
        monkeypatch.setattr(sys, "__stderr__", stream)
        for type_ in ("new", "update", "end"):
            for kind in ("bear", "camera", "health"):
                TerminalBell()(event(type_, kind=kind))
    assert terminal.getvalue() == "\a\a\a"
    assert file.getvalue() == ""


def python(code):
    return f'"{sys.executable}" -c "{code}"'


def test_the_command_gets_the_event_on_its_standard_input(tmp_path, capfd):
    out = tmp_path / "got.json"
    command = Command(python(f"import sys; open(r'{out}', 'a').write(sys.stdin.read()); print('done')"))
    for type_ in ("new", "update", "end"):
        command(event(type_))
    assert json.loads(out.read_text())["id"] == "id1"
    assert capfd.readouterr() == ("", "done\n")


def test_the_command_finds_what_a_short_script_needs_in_its_environment(tmp_path):
    out = tmp_path / "got.json"
    command = Command(python(f"import json, os; json.dump(dict(os.environ), open(r'{out}', 'w'))"))
    given = event(label="brown_bear", score=0.9876, zones=("hives", "gate"), detail='"; touch owned; \0 $(touch owned)')
    command(given)
    found = json.loads(out.read_text())
    assert found["PATH"] == os.environ["PATH"]
    assert {name: found[name] for name in variables(given)} == {
        "BEAR_KIND": "bear",
        "BEAR_TYPE": "new",
        "BEAR_ID": "id1",
        "BEAR_CAMERA": "yard",
        "BEAR_TIME": "2026-01-01T00:00:00.000Z",
        "BEAR_LABEL": "brown_bear",
        "BEAR_SCORE": "0.99",
        "BEAR_ZONES": "hives gate",
        "BEAR_ESCALATED": "",
        "BEAR_DETAIL": '"; touch owned;  $(touch owned)',
        "BEAR_EVIDENCE": "",
    }


def test_a_command_that_fails_is_said_without_what_may_be_a_password():
    with pytest.raises(CommandError, match="`exit …` ended with exit code 3"):
        Command("exit 3")(event())
    with pytest.raises(CommandError, match="`false` ended with exit code 1"):
        Command("false")(event())
    with pytest.raises(CommandError, match="exit code 3") as raised:
        Command("TOKEN=hunter22 false -u ranger:hunter22 'https://hunter22@there' || exit 3")(event())
    assert "hunter22" not in str(raised.value)
    assert Command("disarm --pin 4711 --user al").shown == "`disarm …`"
    assert Command("PIN=4711 disarm").shown == "`…`"


def failing(_):
    raise OSError("no siren")


@pytest.mark.parametrize("sink", [TerminalBell(), Command("exit 3")])
def test_what_a_sink_does_not_want_changes_nothing_of_what_is_known_of_it(sink):
    answered = []
    worker = in_background(failing, "siren", wanted=sink.wanted, answered=lambda e, *_: answered.append(e.seq))
    given = [event(), event("update", seq=2), event("end", seq=3), event("end", kind="health", seq=4)]
    for each in given:
        worker(each)
    assert [worker.wants(each) for each in given] == [True, False, False, False]
    assert worker.close(20.0)
    assert worker.problem() == "siren failed: no siren"
    assert (answered, worker.done, worker.failures, worker.dropped) == ([1], 0, 1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's &")
def test_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path):
    Command(f"(until [ -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/rang) &")(event())
    (tmp_path / "go").touch()
    assert soon((tmp_path / "rang").exists)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_a_command_that_hangs_is_ended_with_all_it_started(monkeypatch):
    monkeypatch.setattr(local_sinks, "COMMAND_S", 0.2)
    started = time.monotonic()
    with pytest.raises(CommandError, match="took longer"):
        Command("sleep 30 & sleep 30")(event())
    assert time.monotonic() - started < 5


@pytest.mark.skipif(sys.platform == "win32", reason="signals and sessions are POSIX")
@pytest.mark.parametrize(
    "line",
    [
        "trap '' TERM HUP INT; sleep 20",  # deaf
        f"{sys.executable} -c 'import os, time; os.setsid(); time.sleep(20)' & wait",  # out of reach
        "exec 0<&-; sleep 20",  # reads nothing
    ],
)
def test_a_child_that_hangs_in_any_way_does_not_hold_up_the_next_event(line, tmp_path, monkeypatch):
    monkeypatch.setattr(local_sinks, "COMMAND_S", 0.5)
    pids = tmp_path / "pids"
    command = Command(f"[ -e {pids} ] && exit; echo $$ > {pids}; {line}")
    worker = in_background(command, "--on-alarm", deadline_s=5.5)
    started = time.monotonic()
    worker(event())
    worker(event(seq=2))
    assert worker.close(15.0)
    assert time.monotonic() - started < 15.0
    assert (worker.done, worker.failures, worker.hung) == (1, 1, 0)
    assert "took longer than 0.5 s and was ended" in (worker.last_error or "")


def test_drawing_leaves_the_picture_alone():
    image = np.zeros((240, 320, 3), np.uint8)
    zone = Zone("gate", ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9)))
    drawn = annotate(image, [Mark((0.9, 0.0, 0.3, 0.3), "words", ALARM)], "caption", [zone])
    assert not image.any()
    assert drawn.any()
