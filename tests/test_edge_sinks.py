"""The bell, a command, lines of JSON; and a box drawn on a picture."""

import json
import os
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest

from edge.drawing import ALARM, Mark, annotate
from edge.errors import OptionError
from edge.schema import Event
from edge.sinks.bell import Bell
from edge.sinks.command import Command, CommandError, variables
from edge.sinks.jsonl import JsonLines
from edge.sinks.worker import in_background
from edge.zones import Zone
from tests.sink_world import event


def test_the_bell_rings_for_a_new_bear_and_a_new_trouble_at_a_terminal_only():
    class Terminal(StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), StringIO()
    for stream in (terminal, file):
        for type_ in ("new", "update", "end"):
            for kind in ("bear", "camera", "health"):
                Bell(stream)(event(type_, kind=kind))
    assert terminal.getvalue() == "\a\a\a"
    assert file.getvalue() == ""


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
from edge.sinks.jsonl import JsonLines
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
    told = event(label="brown_bear", score=0.9876, zones=("hives", "gate"), detail='"; touch owned; \0 $(touch owned)')
    command(told)
    found = json.loads(out.read_text())
    assert found["PATH"] == os.environ["PATH"]
    assert {name: found[name] for name in variables(told)} == {
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
    with pytest.raises(CommandError, match="`exit 3` ended with exit code 3"):
        Command("exit 3")(event())
    with pytest.raises(CommandError, match="exit code 3") as raised:
        Command("TOKEN=hunter22 false -u ranger:hunter22 'https://hunter22@there' || exit 3")(event())
    assert "hunter22" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's &")
def test_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path):
    started = time.monotonic()
    Command(f"(sleep 1; touch {tmp_path}/rang) &", limit_s=20.0)(event())
    assert time.monotonic() - started < 0.9
    time.sleep(1.5)
    assert (tmp_path / "rang").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_a_command_that_hangs_is_ended_with_all_it_started():
    started = time.monotonic()
    with pytest.raises(CommandError, match="took longer"):
        Command("sleep 30 & sleep 30", limit_s=0.2)(event())
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
def test_a_child_that_hangs_in_any_way_does_not_hold_up_the_next_event(line, tmp_path):
    pids = tmp_path / "pids"
    command = Command(f"[ -e {pids} ] && exit; echo $$ > {pids}; {line}", limit_s=0.5)
    worker = in_background(command, "--on-alarm", deadline_s=command.limit_s + 5.0)
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
