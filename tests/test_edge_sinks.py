"""Who is told: in their own threads, each on its own, nothing lost on the way out."""

import json
import sys
import threading
import time
from io import StringIO

import numpy as np
import pytest

from edge.drawing import ALARM, Mark, annotate
from edge.errors import OptionError
from edge.evidence import EvidenceWriter, Exhibit
from edge.pictures import read_picture
from edge.schema import Event, Frame
from edge.sinks.bell import Bell
from edge.sinks.command import Command, CommandError
from edge.sinks.jsonl import JsonLines
from edge.sinks.worker import Worker, in_background
from tests.meadow import WALL


def event(type_="new", seq=1, **more):
    return Event("bear", type_, f"id{seq}", seq, "run", "yard", "2026-01-01T00:00:00.000Z", latency_ms=5.0, **more)


def slowly(seconds, take):
    """A sink that sleeps first."""

    def sink(item, *_):
        time.sleep(seconds)
        take(item)

    return sink


def test_a_worker_hands_on_in_order_and_drains_on_close():
    told = []
    worker = in_background(slowly(0.005, lambda e: told.append(e.seq)), "slow")
    for i in range(10):
        worker(event(seq=i))
    assert worker.close(5.0)
    assert told == list(range(10))


def test_a_worker_never_makes_the_loop_wait_and_counts_what_it_drops(caplog):
    gate = threading.Event()
    told: list[int] = []

    def stuck(item: int, _: float) -> None:
        gate.wait(5)
        told.append(item)

    worker = Worker(stuck, "stuck", depth=3)
    started = time.monotonic()
    for i in range(10):
        worker(i)
    assert time.monotonic() - started < 0.5
    assert not worker.close(0.05)
    assert worker.dropped >= 6
    assert "stuck is too slow" in caplog.text
    gate.set()
    assert worker.close(5.0)
    assert told[-3:] == [7, 8, 9]


def test_a_sink_that_raises_is_said_and_tried_again(caplog):
    told = []

    def flaky(e):
        if e.seq == 1:
            raise OSError("no siren")
        told.append(e.seq)

    worker = in_background(flaky, "siren")
    worker(event(seq=1))
    worker(event(seq=2))
    assert worker.close(5.0)
    assert (told, worker.failures) == ([2], 1)
    assert "siren failed: no siren" in caplog.text


def test_latency_runs_until_the_sink_is_called():
    told: list[float] = []
    worker = in_background(slowly(0.05, lambda e: told.append(e.latency_ms)), "slow")
    worker(event())
    worker(event())
    worker.close(5.0)
    assert 5.0 <= told[0] < 50.0
    assert told[1] > 40.0


def test_the_bell_rings_for_a_new_bear_at_a_terminal_only():
    class Terminal(StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), StringIO()
    for stream in (terminal, file):
        for type_ in ("new", "update", "end"):
            Bell(stream)(event(type_))
    assert terminal.getvalue() == "\a"
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


def test_a_command_that_fails_is_said():
    with pytest.raises(CommandError, match="exit code 3"):
        Command(python("import sys; sys.exit(3)"))(event())


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


def exhibit(writer, seq=1):
    image = np.full((240, 320, 3), 90, np.uint8)
    frame = Frame(image, 1.0, WALL, "yard/left", 0, media_time_s=1.0)
    path = writer.place(frame, "abcdef0123456789", seq)
    mark = Mark((0.2, 0.2, 0.5, 0.5), "brown bear 0.98", ALARM, bold=True)
    return Exhibit(path, frame, (mark,), event(label="brown_bear", score=0.98))


def test_evidence_is_an_annotated_picture_in_a_folder_for_the_day(tmp_path):
    writer = EvidenceWriter(tmp_path / "evidence")
    shown = exhibit(writer)
    writer(shown)
    assert writer.close(5.0)
    assert shown.path == tmp_path / "evidence" / "2026-01-01" / "000000-yard_left-abcdef01-1.jpg"
    picture = read_picture(shown.path)
    assert picture.shape == (240, 320, 3)
    assert picture[48, 150, 2] > 150  # the red frame


def test_evidence_that_cannot_be_written_is_said(tmp_path, caplog):
    writer = EvidenceWriter(tmp_path / "evidence")
    (tmp_path / "evidence" / "2026-01-01").write_text("in the way")
    writer(exhibit(writer))
    writer.close(5.0)
    assert "evidence failed" in caplog.text


def test_evidence_in_a_place_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot keep evidence"):
        EvidenceWriter(tmp_path / "file")


def test_drawing_leaves_the_picture_alone():
    image = np.zeros((240, 320, 3), np.uint8)
    drawn = annotate(
        image, [Mark((0.9, 0.0, 0.3, 0.3), "words", ALARM)], "caption", [((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))]
    )
    assert not image.any()
    assert drawn.any()
