"""Which pictures are subjects, places and a trail camera's, where the alarm's own pictures are among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.feedback_evidence import imported, negative, review, samples, standing, walking, write_evidence
from train.data.catalog import read_catalog
from train.data.pictures import Picture
from train.evaluate.subjects import is_scene, is_trail, kind_of, sort_out


def picture(note: str, label: str = "no_bear", named: str = "") -> Picture:
    """A catalogue's picture with a note."""
    return Picture(Path("x.jpg"), label, "somewhere", "", note=note, named=named)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    """The alarm's own pictures: a bear, foxes, an empty frame and one with a fox; with web pictures beside them."""
    root = tmp_path_factory.mktemp("own")
    evidence = write_evidence(root / "evidence")
    review(walking(evidence), "confirmed", note="our trail camera; an indoor scene, a street")
    review(standing(evidence), "relabelled", "fox", note="like every night, at the camera trap")
    empty, fox = samples(evidence)
    review(empty, "wrong", note="a dog barked, or a bear")
    review(fox, "relabelled", "fox")
    negative(evidence, 25)
    imported(evidence, root / "data", names={"fox": "no_bear"}, unreviewed_negatives=True)
    return list(read_catalog(root / "data").pictures)


def parts(pictures: tuple[Picture, ...]) -> set[tuple[str, str]]:
    """Return what each is called, and which look it is."""
    return {(kind_of(each), each.note.split("part=")[1].partition(";")[0].split("-")[0]) for each in pictures}


def test_crops_of_what_alarmed_are_subjects_and_whole_frames_a_trail_cameras(own: list[Picture]) -> None:
    found = sort_out(own)
    assert parts(found.bears) == {("bear", "crop")}
    assert {kind_of(each) for each in found.others} == {"fox"}, "one kind, however many events"
    assert all(each.note.split("part=")[1].partition(";")[0] != "frame" for each in found.others)
    assert not found.real
    whole = tuple(each for each in own if each.of_trail_camera and each.label == "bear_any")
    assert parts(whole) == {("bear", "full"), ("bear", "clip")}
    assert all(each.boxes for each in whole)


def test_only_frames_in_which_nobody_saw_anything_are_places(own: list[Picture]) -> None:
    found = sort_out(own)
    assert {kind_of(each) for each in found.places} == {"random negative"}
    assert any("review=none" in each.note for each in found.places)
    assert any("review=wrong" in each.note for each in found.places)
    whole_fox = [each for each in own if each.note.startswith("fox; negative=") and "part=frame;" in each.note]
    assert whole_fox
    assert not {*whole_fox} & {*found.places, *found.others}


def test_what_a_reviewer_wrote_decides_nothing() -> None:
    facts = "false alarm; event=3f9c0a12; part={}; review=wrong@x; told=brown_bear; by=trail camera; said=street scene"
    assert (is_trail(picture(facts.format("crop"))), is_scene(picture(facts.format("crop")))) == (False, False)
    assert is_trail(picture(facts.format("full"), "bear_any"))
    assert is_trail(picture("random negative; negative=3f9c0a12; part=frame-cut; review=none"))
    assert kind_of(picture(facts.format("crop"))) == "false alarm"
    assert kind_of(picture("fox; at night, camera-trap")) == "fox"


@pytest.mark.parametrize(
    ("note", "named", "scene"),
    [
        ("empty", "no_bear", True),  # as `gather folder` and a category of LILA write it
        ("Empty place", "no_bear", True),
        ("", "empty_frames", True),
        ("", "no-animals", True),
        ("blank", "", True),
        ("backgrounds", "", True),
        ("", "placentals", False),
        ("fox in an empty yard", "", False),
        ("game camera, at the feeder", "", True),
        ("fixed camera at the gate", "", True),
        ("trailcam", "", True),
    ],
)
def test_empty_places_are_no_animals(note: str, named: str, scene: bool) -> None:
    assert is_scene(picture(note, named=named)) is scene


def test_the_standard_pictures_are_sorted_as_ever(pictures: Path) -> None:
    names = (
        "ktosiu/Bear-Detection", "y-arjun-y/bears", "kovacspeter/Animal-classification", "datitran/raccoon_dataset",
        "lizhogn/tiny_coco_dataset",
    )  # fmt: skip
    found = sort_out(each for each in read_catalog(pictures).pictures if each.source in names)
    assert [len(each) for each in (found.bears, found.others, found.places, found.real)] == [257, 868, 28, 68]
