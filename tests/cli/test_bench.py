"""``bench``: the alarm's own loop is measured stage by stage, and what is printed follows from the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.cli.bench import COLUMNS, bench, bench_text, cells, report, table_row, what_follows
from edge.cli.bench_measure import (
    CODECS,
    ENDS_S,
    FIFTH,
    FPS,
    ROUNDS,
    STAGES,
    STILL_S,
    Bench,
    Lane,
    Round,
    Row,
    Spread,
    Stopwatch,
    TimedClassifier,
    TimedWatcher,
    Way,
    by_turns,
    drawn,
    measure,
    precisions,
    program,
    scratch,
    speedup,
    standing,
    still_frames,
    timed,
    write_mjpeg,
)
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.motion import MotionFinder
from edge.device.sensors import About, Power
from edge.errors import ModelError, OptionError, SourceError
from edge.record.run import keep_alone
from edge.schema import LazyImage
from tests.cli.test_command import sentence
from tests.helpers.command import _clean_environment
from tests.helpers.command import bear_alarm as run
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.helpers.webhook_server import PostBox

ROOT = Path(__file__).parents[2]


def spread(ms: float) -> Spread:
    return Spread(ms, ms * 1.5, ms * 2, ms, 40)


def rounds(*crops_ms: float, slowed: bool | None = None, watts: float | None = None) -> tuple[Round, ...]:
    return tuple(Round(ms, 50.0 + number, 1500.0, slowed, watts) for number, ms in enumerate(crops_ms))


def board(idle: float = 10.0, active: float = 40.0, **more: Any) -> Bench:
    """A made-up board on which a frame takes so many milliseconds; its four cores do what three could."""
    stages = {kind: {"decode H.264": spread(3.0), "motion": spread(1.0), "inference": None} for kind in FPS}
    known = Bench(
        machine=About("Raspberry Pi 5", "Debian GNU/Linux 12 (bookworm)", "aarch64", 4, True, 8000.0),
        processor=None,
        model="bear@12",
        stages=stages,
        frames={kind: dict.fromkeys(CODECS, spread(ms)) for kind, ms in (("idle", idle), ("active", active))},
        cpu_ms={kind: dict.fromkeys(CODECS, ms) for kind, ms in (("idle", idle), ("active", active))},
        crops=2.0,
        latency_ms=spread(30.0),
        journal=spread(5.0),
        ways=(Way("bear@12", "int8", 1, spread(20.0)), Way("bear@12", "float", 1, spread(40.0))),
        speedup=3.0,
        rounds=rounds(20.0, 20.0, 20.0, 20.0, 20.0),
        start_s=2.5,
        memory_mb=180.0,
        free_mb=6000.0,
        rest_w=None,
        power_of=None,
        seconds=20.0,
    )
    return replace(known, **more)


@pytest.mark.slow
def test_the_real_loop_is_measured_in_each_of_its_stages_on_this_machine() -> None:
    began = psutil.virtual_memory()
    found = measure([BUNDLED], 3.0)
    assert 0.5 * began.available < found.free_mb * 1e6 <= began.total
    for stage in ("decode H.264", "decode MJPEG", *STAGES[1:]):
        each = found.stages["active"][stage]
        assert each, stage
        assert 0.0 < each.p50 <= each.p95 <= each.max, stage
    assert found.stages["idle"]["inference"] is None  # nothing was found in these frames
    assert found.stages["idle"]["scan"]
    assert found.crops > 0.5
    for kind, frames in found.frames.items():
        # Whole passes, the same frames of either codec; a stage holds nothing of the others, so that together they
        # are no more than the frames they are of.
        whole = [each for each in frames.values() if each]
        assert len(whole) == len(CODECS)
        assert all(each.count % (ROUNDS * FIFTH[kind]) == 0 for each in whole)
        parts = sum(part.mean * part.count for part in found.stages[kind].values() if part)
        assert 0.8 < parts / sum(each.mean * each.count for each in whole) <= 1.05
    assert found.latency_ms
    assert found.journal
    assert {(way.precision, way.threads) for way in found.ways} == {
        (how, many) for how in ("int8", "float") for many in {1, found.machine.cores}
    }
    assert (found.ways[0].precision, found.ways[0].threads) == ("int8", 1)
    assert 0.0 < found.speedup <= found.machine.cores
    assert len(found.rounds) == 5
    assert found.start_s
    assert found.memory_mb
    assert found.memory_mb > 80.0  # the program and its children, until the alarm's clip was made
    whole = json.loads(json.dumps(report(found)))
    assert whole["follows"]["words"] == what_follows(found)
    assert whole["stages"]["active"]["motion"]["count"] >= whole["stages"]["active"]["inference"]["count"] > 0


def test_an_int8_file_may_be_run_in_float_from_the_beginning() -> None:
    as_it_is, in_float = Classifier(BUNDLED), Classifier(BUNDLED, in_float=True)
    crops = np.random.default_rng(5).integers(0, 255, (3, in_float.size, in_float.size, 3), np.uint8)
    one, two = as_it_is(crops)[0], in_float(crops)[0]
    assert 0.0 < np.abs(one - two).max() < 0.1  # another arithmetic, the same answer
    assert in_float.golden_error <= in_float.card.golden_tolerance
    assert not in_float.fallback


def test_a_file_that_is_no_int8_has_one_way(tmp_path: Path) -> None:
    assert precisions(Classifier(write_tiny_model(tmp_path / "m.onnx", tiny_card()))) == [("fp32", False)]
    assert precisions(Classifier(BUNDLED)) == [("int8", False), ("float", True)]
    with pytest.raises(ModelError):
        measure([tmp_path / "gone.onnx"], 1.0)


def test_where_int8_is_computed_wrongly_only_float_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with AVX2 and no VNNI: the int8 session answers nonsense."""
    whole = Classifier._golden_error
    monkeypatch.setattr(Classifier, "_golden_error", lambda self: whole(self) if self.fallback else 0.9)
    assert precisions(Classifier(BUNDLED)) == [("float", True)]
    assert "computes int8 wrongly" in what_follows(board(ways=board().ways[1:]))[1]


@pytest.fixture(scope="module")
def mjpeg(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bench") / "clip.avi"
    write_mjpeg(path)
    return str(path)


def test_nothing_moves_in_an_idle_frame(mjpeg: str) -> None:
    for source in ("demo", mjpeg):
        still, finder = still_frames(source), MotionFinder()
        with open_source(source, fps=FPS["idle"]) as opened:
            frames = [frame for frame, _ in zip(opened, range(9), strict=False)]
        assert frames[-1].time < STILL_S
        for number in range(60):
            shown = standing(frames[number % len(frames)], still[number % len(still)])
            assert not finder(replace(shown, time=number / FPS["idle"])).regions


def test_the_same_clip_is_there_as_mjpeg(mjpeg: str) -> None:
    with open_source(mjpeg, fps=1.0) as ours, open_source("demo", fps=1.0) as demo:
        pairs = list(zip(ours, demo, strict=False))
    assert len(pairs) == int(ENDS_S) + 1
    for one, other in pairs:
        assert np.abs(one.image.astype(int) - other.image).mean() < 6.0  # compressed once more


@pytest.mark.slow
def test_a_clip_for_which_there_is_no_room_ends_the_measurement(tmp_path: Path) -> None:
    """As on a full disk: without any room, and with room for a part of the clip."""
    command = "import sys; from edge.cli.main import main; main()"
    for blocks in (1, 4000):
        limited = f'ulimit -f {blocks}; exec "$0" "$@"'
        words = ["bash", "-c", limited, sys.executable, "-c", command, "bench"]
        env = _clean_environment() | {"BEAR_ALARM_STATE": str(tmp_path), "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
        assert f"no room in {tmp_path}" in ran.stderr
        assert len(ran.stderr.splitlines()) == 1


def lane(kind: str, source: str) -> Lane:
    clock, classifier = Stopwatch(), TimedClassifier(BUNDLED)
    return Lane(kind, "H.264", source, TimedWatcher(classifier, clock, EventPublisher()))


def test_a_lane_that_dies_before_its_first_turn_says_why(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        lane("active", str(tmp_path / "gone.avi")).begin(0.0)


def test_slow_and_fast_machines_see_the_same_frames() -> None:
    """However short its turns are: five of them are one whole pass."""
    one = lane("active", "demo")
    for number in range(ROUNDS):
        assert len(one.whole) == 0
        one.begin(0.0)
        one.end()
        assert len(one.rows) == (number + 1) * FIFTH["active"]
    one.close()
    with open_source("demo", fps=FPS["active"]) as source:
        moving = [frame for frame in source if STILL_S < frame.time < ENDS_S]
    assert len(one.whole) == len(moving) == ROUNDS * FIFTH["active"]


def test_power_is_the_mean_of_one_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = cycle([Power(3.0, "the board"), Power(9.0, "the supply"), Power(5.0, "the board"), None])
    monkeypatch.setattr("edge.cli.bench_measure.power", lambda root: next(looks))
    now = iter(range(9))
    clock = SimpleNamespace(monotonic=lambda: float(next(now)), sleep=lambda seconds: None)
    monkeypatch.setattr("edge.cli.bench_measure.time", clock)
    assert drawn(5.0) == Power(4.0, "the board")


def test_a_stage_inside_another_counts_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 1.0, 5.0, 7.0])
    monkeypatch.setattr("edge.cli.bench_measure.time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    clock = Stopwatch()
    with clock("crop"), clock("inference"):
        pass
    assert clock.spent == {"crop": 3.0, "inference": 4.0}


def test_colours_that_are_decoded_later_count_as_decoding() -> None:
    frame = still_frames("demo")[0]
    clock = Stopwatch()
    lazy = replace(frame, picture=LazyImage(lambda: frame.image, frame.size_wh))
    with clock("crop"):
        assert timed(lazy, clock).image is frame.image
    assert set(clock.spent) == {"crop", "decode"}


def test_every_piece_of_work_has_its_turn() -> None:
    done: list[str] = []
    took: list[list[float]] = [[], []]
    for _ in range(3):
        by_turns([lambda: done.append("a"), lambda: done.append("b")], took, 0.0)
    assert done == ["a", "b"] * 3
    assert [len(each) for each in took] == [3, 3]


def test_what_is_computed_of_the_measurements() -> None:
    found = Spread.of([0.001 * each for each in range(1, 102)])
    assert found == Spread(51.0, 96.0, 101.0, 51.0, 101)
    assert Spread.of([]) is None

    def rows(seconds: float) -> list[Row]:
        return [Row(seconds, seconds, 1, seconds, {})] * 5

    assert speedup(rows(0.01), [rows(0.02), rows(0.01)], 4) == 1.5
    assert speedup(rows(0.02), [rows(0.01)] * 2, 2) == 2.0  # the first alone was slowed down by something else
    # 0.85 of what three cores' worth of frames of 40 ms are, at ten a second; of 10 ms, at five.
    assert board().cameras("active") == pytest.approx(0.85 * 3 * 25 / 10)
    assert board().cameras("idle") == pytest.approx(0.85 * 3 * 100 / 5)
    slower = board(frames={"active": {"H.264": spread(40.0), "MJPEG": spread(80.0)}})
    assert slower.cameras("active") == pytest.approx(0.85 * 3 * 12.5 / 10)  # the dearer of the two
    assert board(free_mb=300.0).cameras("idle") == pytest.approx(1 + 120 / 60)  # no more have room in memory


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (board(), "51 cameras of 1280x720 that send 10 frames a second fit, 6 where something always moves. The limit"),
        (board(), "The limit is the processor."),
        (board(free_mb=200.0), "1 camera of 1280x720 that sends 10 frames a second fits, "),
        (board(free_mb=600.0), "8 cameras of 1280x720 that send 10 frames a second fit, 6 where something always"),
        (board(free_mb=600.0), "The limit is memory where nothing moves, the processor where something does."),
        (board(free_mb=300.0), "The limit is memory."),
        (board(free_mb=100.0), "Only 100 MB of memory are free, too little for one camera"),
        (board(200.0, 500.0), "Use `--fps 5`: 5 cameras of 1280x720 that send 5 frames a second fit, 1 where"),
        (board(9000.0, 9000.0), "Use `--fps 0.28`: 2 cameras of 1280x720"),
        (board(40_000.0, 9000.0), "This machine is too slow: not one camera fits."),
        (board(cpu_ms={kind: dict.fromkeys(CODECS, 15.0) for kind in FPS}), "Other programs were running: stop them"),
        (board(20_000.0, 20_000.0), "This machine is too slow: not one camera fits."),
        (
            board(ways=(Way("bear@12", "int8", 1, spread(30.0)), Way("bear@12", "float", 1, spread(20.0)))),
            "1.5 x as fast in float as in int8: export it with `--precision fp32`",
        ),
        (
            board(ways=(*board().ways, Way("b@9", "fp32", 1, spread(30.0)))),
            "b@9 (fp32) takes 1.50 x as long for a crop as bear@12 (int8).",
        ),
        (board(rounds=rounds(20.0, 20.0, 25.0, 30.0, 32.0)), "At the end a crop took 1.6 times as long"),
        (board(rounds=rounds(20.0, 20.0, slowed=True)), "slowed down by heat or low voltage: give it"),
    ],
)
def test_what_follows(found: Bench, words: str) -> None:
    assert words in "\n".join(what_follows(found))


def test_a_board_that_is_fast_enough_is_one_answer() -> None:
    assert len(what_follows(board())) == 1


def test_the_answer_comes_first_and_then_a_table_for_a_person() -> None:
    found = board(rounds=rounds(20.0, 21.0, slowed=False, watts=5.51), rest_w=3.0, power_of="the supply")
    text = bench_text(found)
    assert text.startswith("Use the settings as they are: 51 cameras")
    assert "Raspberry Pi 5, 4 cores; bear@12, int8" in text
    assert "unpack it, H.264            3.00    4.50    6.00       3.00" in text
    assert "ask the model                  –" in text
    assert (
        "Start to the first picture analysed: 2.5 s. Memory at most: 180 MB. Power: 3.0 / 5.5 W (the supply)." in text
    )
    assert "a crop 20.0, 21.0 ms; processor 50, 51 °C; lowest clock 1500 MHz; slowed down no." in text
    assert len(text.splitlines()) <= 25


def test_what_is_not_known_is_not_measured_and_never_nothing() -> None:
    blind = board(rounds=(Round(20.0, None, None, None, None),) * 5, start_s=None, memory_mb=None, latency_ms=None)
    text = bench_text(blind)
    assert "analysed: not measured. Memory at most: not measured. Power: not measured." in text
    assert text.endswith("a crop 20.0, 20.0, 20.0, 20.0, 20.0 ms.")  # heat and clock are not known on many machines
    row = dict(zip(COLUMNS, cells(blind), strict=True))
    unknown = {name for name, words in row.items() if words == "not measured"}
    assert unknown == {"latency p95", "start", "memory", "power at rest / busy", "hottest"}


def test_no_row_of_a_machine_on_which_other_programs_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed = board(10.0, 40.0, cpu_ms={kind: dict.fromkeys(CODECS, 15.0) for kind in FPS})
    monkeypatch.setattr("edge.cli.bench.measure", lambda models, seconds: disturbed)
    with pytest.raises(OptionError, match="other programs were running"):
        bench(row=True)


def test_a_row_fits_the_table_of_boards() -> None:
    page = (ROOT / "docs/boards.md").read_text(encoding="utf-8")
    assert table_row(COLUMNS) in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and "bear@" in line]
    assert rows
    assert all(line.count("|") == len(COLUMNS) + 1 for line in rows)
    piped = table_row(cells(board(processor="a | b")))
    assert piped.startswith("| Raspberry Pi 5, a / b, 4 cores | Debian")
    assert piped.count("|") == len(COLUMNS) + 1


@pytest.mark.slow
def test_no_true_alarm_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what the environment names to the alarm that runs here: it is not for the clip's bear."""
    monkeypatch.setenv("BEAR_ALARM_CONFIG", str(tmp_path / "gone.yml"))  # with which `watch` does not begin
    with PostBox() as box:
        monkeypatch.setenv("BEAR_ALARM_WEBHOOK", f"http://127.0.0.1:{box.port}")
        start_s, memory_mb = program(BUNDLED)
    assert start_s
    assert memory_mb
    assert memory_mb > 80.0
    assert not box.posted


def test_a_program_that_does_not_begin_is_not_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert program(tmp_path / "gone.onnx") == (None, None)
    assert "analysed no frame" in caplog.text


@pytest.mark.slow
def test_as_a_user_types_it(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    other = write_tiny_model(tmp_path / "o.onnx", replace(tiny_card(), name="other"))
    words = ("bench", "--model", model, "--against", other, "--json")
    ran = run(*words, BEAR_ALARM_STATE=str(tmp_path / "state"))
    assert ran.returncode == 0
    assert "made no clip of the bear here" in ran.stderr  # the tiny one finds none
    printed = json.loads(ran.stdout)
    assert {way["model"].partition("@")[0] for way in printed["ways"]} == {"tiny", "other"}
    assert printed["start_s"] > 0
    assert printed["memory_mb"] is None
    assert printed["power_of"] is None or printed["rest_w"] > 0
    assert not (tmp_path / "state").exists()  # it keeps nothing


def test_the_journal_is_timed_on_the_disk_that_the_alarm_writes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAR_ALARM_STATE", str(tmp_path / "state"))
    with scratch() as folder:
        assert Path(folder).parent == tmp_path
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("BEAR_ALARM_STATE", str(tmp_path / "file"))  # where no folder can be
    with scratch() as folder:
        assert Path(folder).is_dir()


def test_what_it_cannot_do_is_one_sentence() -> None:
    assert "no such model file" in sentence("bench", "--model", Path("gone.onnx"))
    assert "seconds" in sentence("bench", "--seconds", 14)
    assert "give one of them" in sentence("bench", "--row", "--json")


def test_beside_a_running_alarm_nothing_is_measured(tmp_path: Path) -> None:
    lock = keep_alone(tmp_path, "a run")
    try:
        ran = run("bench", BEAR_ALARM_STATE=str(tmp_path))
    finally:
        lock.close()
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "an alarm is running here" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["watch.lock"]
