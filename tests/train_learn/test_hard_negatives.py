"""Hard negatives: what the present model takes for a bear in bear-free pictures, cut out and kept to learn from."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.detect.classifier import Classifier
from edge.errors import OptionError
from edge.pictures import read_picture
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, plain, tiny_card, write_tiny_model
from train.learn.hard_negatives import (
    FOLDER,
    PER_PICTURE,
    SOURCE,
    WINDOWS,
    Mined,
    as_notes,
    from_notes,
    hard_crops,
    kept_crops,
    mine,
    remove_others,
    small_windows,
)
from train.learn.session import mined_words


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A model that takes what is red for a bear."""
    return Classifier(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_card()))


@pytest.fixture
def free(tmp_path: Path) -> Path:
    """A folder of pictures: one green, one with a red corner."""
    folder = tmp_path / "free"
    folder.mkdir()
    cv2.imwrite(str(folder / "green.png"), plain(NO_BEAR_COLOUR))
    picture = plain(NO_BEAR_COLOUR, 120, 120)
    picture[:75, :75] = BEAR_COLOUR
    cv2.imwrite(str(folder / "red-corner.png"), picture)
    return folder


def dice(seed: int) -> np.random.Generator:
    """Return where small windows are."""
    return np.random.default_rng(seed)


def look(paths: list[Path], classifier: Classifier, out: Path) -> Mined:
    """Mine without a bar."""
    return mine(paths, classifier, out, lambda files, words: iter(files))


def test_the_red_corner_is_found_and_kept_as_no_bear(free: Path, classifier: Classifier, tmp_path: Path) -> None:
    found = look([free], classifier, tmp_path / "run")
    assert found.looked_at == 2
    assert found.rows
    assert {(row.label, row.source, row.group) for row in found.rows} == {("no_bear", SOURCE, "red-corner.png")}
    assert all(row.file.parent == tmp_path / "run" / FOLDER for row in found.rows)
    best = read_picture(found.rows[0].file)
    assert best[..., 2].mean() > best[..., 1].mean()  # red above green
    assert found.highest > 0.9


def test_a_clips_frames_are_looked_at_once_a_second(classifier: Classifier, tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    video = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 96))
    for _ in range(30):
        video.write(plain(BEAR_COLOUR, 96, 96))
    video.release()
    found = look([clip], classifier, tmp_path / "run")
    assert found.looked_at == 3
    assert 3 <= len(found.rows) <= 3 * 2 * PER_PICTURE


def test_crops_of_one_picture_lie_apart(classifier: Classifier) -> None:
    rng = dice(1)
    assert len(hard_crops(classifier, plain(BEAR_COLOUR, 120, 120), Path("red"), 0.2, rng)) <= 2 * PER_PICTURE
    assert hard_crops(classifier, plain(NO_BEAR_COLOUR), Path("green"), 0.2, rng) == []


def test_small_windows_are_squares_of_16_to_64_pixels_inside_the_picture() -> None:
    size_wh = width, height = 300, 200
    windows = [box for seed in range(20) for box in small_windows(size_wh, dice(seed))]
    assert len(windows) == 20 * WINDOWS
    sides = [w * width for _, _, w, _ in windows]
    assert np.allclose(sides, [h * height for *_, h in windows])
    assert 16 <= min(sides) < 18
    assert 58 < max(sides) <= 64
    assert 0.35 < np.mean(np.array(sides) < 32) < 0.65  # as many below as above the middle of the logarithm
    assert all(left >= 0 and top >= 0 and left + w <= 1 and top + h <= 1 for left, top, w, h in windows)
    assert max(left + w for left, _, w, _ in windows) > 0.9
    assert all(side < 20 for side in small_sides((20, 300)))


def small_sides(size_wh: tuple[int, int]) -> list[float]:
    """In pixels, of the windows that fit."""
    return [w * size_wh[0] for _, _, w, _ in small_windows(size_wh, dice(3))]


def test_what_is_small_and_looks_like_a_bear_is_found(classifier: Classifier) -> None:
    picture = plain(NO_BEAR_COLOUR, 300, 300)
    picture[100:160, 40:100] = BEAR_COLOUR
    found = hard_crops(classifier, picture, Path("leaf"), 0.2, dice(0))
    assert found
    assert max(max(one.crop.shape[:2]) for one in found) <= 64


def test_pieces_of_what_is_hard_as_a_whole_do_not_take_its_place(classifier: Classifier) -> None:
    picture = plain(NO_BEAR_COLOUR, 720, 1280)
    picture[200:600, 300:700] = BEAR_COLOUR
    pieces = 0
    for seed in range(10):
        sides = [max(one.crop.shape[:2]) for one in hard_crops(classifier, picture, Path("x"), 0.2, dice(seed))]
        assert max(sides) >= 360
        pieces += sum(side <= 64 for side in sides)
    assert pieces <= 5  # of 120 windows: those on a rim of it that no hard place holds


def test_an_earlier_trainings_crops_stay_until_there_is_a_new_run_and_other_files_for_good(
    free: Path, classifier: Classifier, tmp_path: Path
) -> None:
    folder = tmp_path / "run" / FOLDER
    folder.mkdir(parents=True)
    old = {"00000-0123abcd.png", "00099-0123abcd.png", "00012.png"}  # the last as they once were called
    for name in ("notes.png", *old):
        (folder / name).write_bytes(b"old")
    found = look([free], classifier, tmp_path / "run")
    new = {row.file.name for row in found.rows}
    assert new
    assert not new & old
    assert {file.name for file in folder.iterdir()} == {"notes.png"} | old | new
    remove_others(folder, found.rows)
    assert {file.name for file in folder.iterdir()} == {"notes.png"} | new
    remove_others(folder / "none", ())


def test_a_run_remembers_its_crops_with_their_licences_and_knows_those_that_are_gone(
    free: Path, classifier: Classifier, tmp_path: Path
) -> None:
    lines = ["file,label,licence", "red-corner.png,no_bear,CC BY 4.0"]
    (free / "MANIFEST.csv").write_text("\n".join(lines))
    rows = look([free], classifier, tmp_path / "run").rows
    notes = json.loads(json.dumps(as_notes(rows)))
    folder = tmp_path / "run" / FOLDER
    assert {row.licence for row in rows} == {"CC BY 4.0"}
    assert from_notes(notes, folder) == rows
    rows[0].file.unlink()
    assert from_notes(notes, folder) == rows[1:]
    assert from_notes([notes[1] | {"file": "../../settings.json"}], folder) == ()


def test_crops_that_lie_elsewhere_are_copied_into_the_runs_own_folder(
    free: Path, classifier: Classifier, tmp_path: Path
) -> None:
    rows = look([free], classifier, tmp_path / "runs").rows
    kept = kept_crops(rows, tmp_path / "runs" / "seed-7")
    assert [row.file.parent for row in kept] == [tmp_path / "runs" / "seed-7" / FOLDER] * len(rows)
    assert [row.file.read_bytes() for row in kept] == [row.file.read_bytes() for row in rows]
    assert kept_crops(kept, tmp_path / "runs" / "seed-7") == kept


def test_a_crop_that_cannot_be_written_is_one_sentence(free: Path, classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FOLDER).write_text("no folder")
    with pytest.raises(OptionError, match=r"cannot be written \(File exists\); free some space"):
        look([free], classifier, tmp_path / "run")


def test_what_is_not_there_is_a_sentence_and_what_is_damaged_is_left_out(
    classifier: Classifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OptionError, match=r"--hard-negatives .*none: no such file or folder"):
        look([tmp_path / "none"], classifier, tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match=r"--hard-negatives .*empty: has no picture and no clip"):
        look([tmp_path / "empty"], classifier, tmp_path / "run")
    for name in ("bad.jpg", "bad.mp4"):
        (tmp_path / name).write_bytes(b"no picture")
    found = look([tmp_path / "bad.jpg", tmp_path / "bad.mp4"], classifier, tmp_path / "run")
    assert found == Mined((), 0, 0.0)
    assert len([line for line in caplog.messages if "the rest of it is skipped" in line]) == 2
    assert not np.any([file.exists() for file in (tmp_path / "run" / FOLDER,)])


def test_what_is_tuned_or_tested_on_is_not_learned_from(free: Path, classifier: Classifier, tmp_path: Path) -> None:
    tested = tmp_path / "pictures" / "a.png"
    tested.parent.mkdir()
    tested.write_bytes((free / "red-corner.png").read_bytes())
    (free / "other.png").write_bytes(b"x" * tested.stat().st_size)  # as large, and something else
    found = mine([free], classifier, tmp_path / "run", lambda files, _: iter(files), held_out=[tested])
    assert found.held_out == 1
    assert not found.rows
    words = mined_words(found, "bear", tmp_path / "run")
    assert "1 files are of the tuning or test part" in words


def test_licences_come_from_the_table_above_and_keep_out_what_may_not_ship(
    free: Path, classifier: Classifier, tmp_path: Path
) -> None:
    inside = free / "camera" / "deep"
    inside.mkdir(parents=True)
    (free / "red-corner.png").rename(inside / "red.png")
    lines = [
        "file,label,licence,licence_url",
        "camera/deep/red.png,no_bear,CC BY 4.0,https://creativecommons.org/licenses/by-nc/4.0/",
    ]
    (free / "MANIFEST.csv").write_text("\n".join(lines))
    found = look([inside], classifier, tmp_path / "run")
    assert {row.licence for row in found.rows} == {"CC BY-NC 4.0"}
    shipped = mine([free], classifier, tmp_path / "run", lambda files, _: iter(files), shippable=True)
    assert (shipped.not_shippable, shipped.looked_at, shipped.rows) == (2, 0, ())  # the other one is in no row


def test_without_a_table_the_owner_decides(free: Path, classifier: Classifier, tmp_path: Path) -> None:
    assert {row.licence for row in look([free], classifier, tmp_path / "run").rows} == {""}


def test_a_folders_clips_are_looked_at_too(free: Path, classifier: Classifier, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(free / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 96))
    for _ in range(20):
        video.write(plain(BEAR_COLOUR, 96, 96))
    video.release()
    assert look([free], classifier, tmp_path / "run").looked_at == 4
