"""Two models on kept pictures: frames of the bundled clip, the bundled model, and one that knows only colours."""

import gc
import json
import math
import os
import re
import shutil
import sys
import threading
from itertools import islice
from pathlib import Path

import cv2
import psutil
import pytest

from edge.detect.classifier import BUNDLED, Classifier
from edge.errors import ModelError
from edge.record.review import Review, write_review
from edge.update.child import run_child
from edge.update.kept import bears, compare, compare_kept, newest
from edge.update.trial import TrialCounts
from tests.helpers.broker import until
from tests.helpers.kept_pictures import BEARS_S, DEMO, OTHERS_S, demo_evidence, demo_frame
from tests.helpers.made_once import made_once
from tests.helpers.review_units import alarm, frame, picture
from tests.helpers.tiny import tiny_card, write_tiny_model

AT = "2026-11-24T08:12:07.000Z"
EVERY = len(BEARS_S) + len(OTHERS_S)
NEVER = threading.Event()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "kept", demo_evidence)


@pytest.fixture
def evidence(tmp_path: Path, pictures: Path) -> Path:
    return Path(shutil.copytree(pictures, tmp_path / "evidence"))


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A model that finds no bear in the clip."""
    return write_tiny_model(tmp_path / "tiny.onnx", tiny_card())


def alarms(evidence: Path) -> list[Path]:
    return sorted(evidence.glob("2*/*"))


# What is counted.


def test_two_files_of_one_model_agree_on_every_picture_in_a_process_of_its_own(evidence, tmp_path, caplog):
    caplog.set_level("INFO")
    other = Path(shutil.copy(BUNDLED, tmp_path / "other.onnx"))
    found = compare_kept(BUNDLED, other, evidence, EVERY, {}, NEVER)
    assert found == TrialCounts(frames=EVERY, both=len(BEARS_S), kept=True)
    assert re.search(r"Kept pictures that both models looked at: 6 \(\d+ MB\)", caplog.text)


def test_alarms_that_one_model_alone_would_raise_are_told_apart(evidence, colours):
    assert compare(BUNDLED, colours, evidence, EVERY, {}) == TrialCounts(frames=6, only_old=3, kept=True)
    assert compare(colours, BUNDLED, evidence, EVERY, {}) == TrialCounts(frames=6, only_new=3, kept=True)


def test_what_people_said_of_alarms_that_would_be_gone_is_counted(evidence, colours):
    first, second, third = alarms(evidence)
    write_review(first, Review("confirmed", AT))
    write_review(second, Review("relabelled", AT, label="black_bear"))
    write_review(third, Review("relabelled", AT, label="dog"))
    found = compare(BUNDLED, colours, evidence, EVERY, {})
    assert (found.right_lost, found.wrong_gone) == (2, 1)
    assert found.words.endswith(
        "; of the alarms that people reviewed, 2 with a bear would be missed, and 1 without one would be gone"
    )


def test_reviews_that_say_nothing_of_a_bear_do_not_count(evidence, colours):
    first, second, _ = alarms(evidence)
    write_review(first, Review("unsure", AT))
    (second / "review.json").write_text("{")
    found = compare(BUNDLED, colours, evidence, EVERY, {})
    assert (found.only_old, found.right_lost, found.wrong_gone) == (3, 0, 0)


def test_a_cameras_own_threshold_counts(evidence):
    assert compare(BUNDLED, BUNDLED, evidence, EVERY, {"yard": (0.9999, None)}).both == 0
    assert compare(BUNDLED, BUNDLED, evidence, EVERY, {"gate": (0.9999, None)}).both == 3


def test_at_night_the_cameras_night_threshold_counts(tmp_path):
    scene, box = demo_frame(16)
    for number, shown in enumerate((scene, scene // 4)):
        alarm(tmp_path, number, shown, box=box)
    assert compare(BUNDLED, BUNDLED, tmp_path, 2, {"yard": (0.05, 0.05)}).both == 2
    assert compare(BUNDLED, BUNDLED, tmp_path, 2, {"yard": (0.05, 0.9999)}).both == 1


# Which pictures.


def test_cameras_alarms_and_random_frames_come_in_turn_and_the_newest_first(tmp_path):
    for number in range(20):
        alarm(tmp_path, number, camera="a busy one")
    alarm(tmp_path, 30, camera="gate.2")
    frame(tmp_path, 3)
    frame(tmp_path, 4, "gate.2")
    found = list(islice(newest(tmp_path), 6))
    assert sorted((unit.camera, unit.event is None) for unit in found[:4]) == [
        ("a busy one", False),
        ("gate.2", False),
        ("gate.2", True),
        ("yard", True),
    ]
    busy = [unit.at.minute for unit in found if unit.camera == "a busy one"]
    assert busy == [19, 18, 17]


def test_an_alarm_without_a_picture_that_nothing_is_drawn_on_does_not_count(evidence):
    first = alarms(evidence)[0]
    (first / "plain.jpg").rename(first / "alarm.jpg")
    assert compare(BUNDLED, BUNDLED, evidence, EVERY, {}).frames == EVERY - 1


@pytest.mark.parametrize("there", [True, False])
def test_of_no_pictures_nothing_is_counted(tmp_path, colours, there):
    folder = tmp_path / "evidence"
    if there:
        folder.mkdir()
    assert compare_kept(colours, colours, folder, EVERY, {}, NEVER) == TrialCounts(kept=True)


# What goes wrong.

JPEG = cv2.imencode(".jpg", picture(1))[1].tobytes()


@pytest.mark.parametrize("damaged", ["picture", "box"])
def test_what_is_damaged_is_named_and_costs_its_own_picture_alone(evidence, colours, caplog, damaged):
    first = alarms(evidence)[0]
    if damaged == "picture":
        (first / "plain.jpg").write_bytes(JPEG[:-300])
    else:
        event = json.loads((first / "event.json").read_text()) | {"box_xywh": [0.1, 0.1, math.nan, 0.1]}
        (first / "event.json").write_text(json.dumps(event))
    found = compare_kept(BUNDLED, colours, evidence, EVERY, {}, NEVER)
    assert found == TrialCounts(frames=EVERY - 1, only_old=len(BEARS_S) - 1, kept=True)
    assert [each.levelname for each in caplog.records if str(first) in each.getMessage()] == ["WARNING"]


def test_a_model_that_cannot_be_loaded_is_one_sentence(evidence, colours):
    with pytest.raises(ModelError, match=r"README\.md: onnxruntime cannot load it"):
        compare_kept(colours, DEMO / "README.md", evidence, EVERY, {}, NEVER)


def test_evidence_that_is_no_folder_is_one_sentence(tmp_path, colours):
    (tmp_path / "evidence").touch()
    with pytest.raises(
        ModelError, match=r"evidence: kept pictures cannot be read \(Not a directory\); check this disk"
    ):
        compare_kept(colours, colours, tmp_path / "evidence", EVERY, {}, NEVER)


def hanging(tmp_path: Path) -> list[str]:
    """Return the words of a comparison whose first picture never comes."""
    folder = alarm(tmp_path / "evidence", 0)
    (folder / "plain.jpg").unlink()
    os.mkfifo(folder / "plain.jpg")
    model = str(write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))
    return [model, model, str(tmp_path / "evidence"), "1", "{}"]


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "edge.update.kept" in each.cmdline()]


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes that are files")
def test_a_disk_that_hangs_ends_at_the_limit_or_when_the_alarm_stops(tmp_path):
    words, stop = hanging(tmp_path), threading.Event()
    with pytest.raises(ModelError, match=r"not looked at to the end: it took longer than 1 s"):
        run_child("edge.update.kept", words, 1.0, stop)
    stop.set()
    with pytest.raises(ModelError, match="not looked at to the end: it was stopped"):
        run_child("edge.update.kept", words, 600.0, stop)
    assert not children()


@pytest.mark.skipif(sys.platform != "linux", reason="has neither signals nor /proc")
def test_the_first_to_go_when_memory_is_short_is_one_sentence(tmp_path):
    words, seen = hanging(tmp_path), []

    def memory_is_short() -> None:
        mine = psutil.Process().nice()
        if until(lambda: any(each.nice() > mine for each in children())):
            [child] = children()
            seen.append(Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip())
            child.kill()

    killer = threading.Thread(target=memory_is_short, daemon=True)
    killer.start()
    with pytest.raises(ModelError, match=r"the system ended it \(signal 9\), as it does where memory is short"):
        run_child("edge.update.kept", words, 60.0, NEVER)
    killer.join()
    assert seen == ["1000"]


def test_an_error_of_the_program_is_one_sentence_too(colours):
    words = [str(colours), str(colours), "evidence", "many", "{}"]
    with pytest.raises(ModelError, match=r"to the end: ValueError: invalid literal [^;]*$"):
        run_child("edge.update.kept", words, 60.0, NEVER)


def test_what_the_command_refuses_is_its_own_sentence_alone(tmp_path):
    with pytest.raises(ModelError, match=r"^/no/such\.onnx: "):
        run_child("edge", ["model", "check", "/no/such.onnx"], 60.0, NEVER)


# Memory.


def test_one_model_is_gone_before_the_other_comes(evidence, colours):
    gc.collect()
    before = [each for each in gc.get_objects() if type(each) is Classifier]
    bears(colours, newest(evidence), 1, {})
    assert len([each for each in gc.get_objects() if type(each) is Classifier]) == len(before)
