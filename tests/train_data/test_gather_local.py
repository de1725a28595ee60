"""Folders, cards and clips that lie here, and what a person moves between folders afterwards."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import BearAlarmError, CatalogError, OptionError, PictureError, SourceError
from tests.helpers.far_side import jpeg, photo, picture, shot
from train.data.catalog import read_catalog
from train.data.gather.offers import Offer
from train.evaluate.subjects import is_trail, kind_of

pytest.importorskip("imagehash")
from PIL import Image

from train.data.gather.download import import_pictures
from train.data.gather.importer import sort_moved
from train.data.gather.local import from_card, from_clip, from_folder, read_exif
from train.data.pictures import category_labels, plain_label


def put(path: Path, data: bytes) -> Path:
    """Write a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_folder_whose_sub_folders_name_labels(tmp_path: Path):
    for n, name in enumerate(
        ["grizzly/cam1/a.jpg", "bear/b.jpg", "panda/c.jpg", "panda/.thumbs/d.jpg", "unsorted/e.jpg"]
    ):
        put(tmp_path / "in" / name, photo(n))
    import_pictures(from_folder(tmp_path / "in", plain_label, source="yard", licence="own"), tmp_path / "out")
    found = {p.file.name: p for p in read_catalog(tmp_path / "out").pictures}
    assert {name: p.label for name, p in found.items()} == {
        "cam1-a.jpg": "brown_bear",
        "b.jpg": "bear_any",
        "c.jpg": "no_bear",
    }
    assert (found["cam1-a.jpg"].source, found["cam1-a.jpg"].group, found["c.jpg"].note) == ("yard", "cam1", "panda")
    assert {p.licence for p in found.values()} == {"own"}


def test_a_folder_of_one_label_and_one_group(tmp_path: Path):
    for n in range(3):
        put(tmp_path / f"in/day{n}/IMG.jpg", shot(n, "2024:05:01 03:12:07"))
    import_pictures(from_folder(tmp_path / "in", "no_bear", group="camera 1", note="fox"), tmp_path / "out")
    pictures = read_catalog(tmp_path / "out").pictures
    assert {(p.source, p.group, p.note, p.taken_at) for p in pictures} == {
        ("in", "camera 1", "fox", "2024-05-01T03:12:07")
    }
    assert len({p.file for p in pictures}) == 3


def test_what_a_folder_lacks_is_a_sentence(tmp_path: Path):
    put(tmp_path / "in/a.jpg", photo(1))
    with pytest.raises(CatalogError, match="is in no sub-folder"):
        import_pictures(from_folder(tmp_path / "in", plain_label), tmp_path / "out")
    with pytest.raises(PictureError, match="no such folder"):
        import_pictures(from_folder(tmp_path / "nowhere", "no_bear"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_as_people_write_them():
    assert plain_label("Grizzly bear") == ("brown_bear", "Grizzly bear")
    assert plain_label("no_bear") == ("no_bear", "")
    assert plain_label("red fox=no_bear") == ("no_bear", "red fox")
    assert category_labels(["Red Fox=no_bear", "bear"], ["red fox", "bear"]) == {
        "red fox": "no_bear",
        "bear": "bear_any",
    }
    for words in ("dragon", "dog=cat", ""):
        with pytest.raises(OptionError, match="unknown label"):
            plain_label(words)
    with pytest.raises(OptionError, match="the set has no category"):
        category_labels(["fox=no_bear"], ["bear"])


def test_a_card_is_sorted_into_bursts(tmp_path: Path):
    times = ["03:12:00", "03:12:30", "03:13:30", "03:15:00", ""]  # 30 s, 60 s, 90 s apart, and a clock never set
    for n, time in enumerate(times):
        taken = f"2024:05:01 {time}" if time else "0000:00:00 00:00:00"
        put(tmp_path / f"card/DCIM/100RECNX/IMG_{n}.JPG", shot(n, taken, "RECONYX", "HYPERFIRE 2", "H2X1"))
    put(tmp_path / "card/DCIM/100RECNX/IMG_9.JPG", shot(9, "2024:05:01 03:12:10", "Other", "Camera"))
    import_pictures(from_card(tmp_path / "card", "no_bear"), tmp_path / "out")
    pictures = read_catalog(tmp_path / "out").pictures
    assert Counter((p.source, p.group) for p in pictures) == {
        ("RECONYX HYPERFIRE 2 H2X1", "2024-05-01T03:12:00"): 3,
        ("RECONYX HYPERFIRE 2 H2X1", "2024-05-01T03:15:00"): 1,
        ("RECONYX HYPERFIRE 2 H2X1", "no time/DCIM/100RECNX"): 1,
        ("Other Camera", "2024-05-01T03:12:10"): 1,
    }
    assert {p.licence for p in pictures} == {"own"}


@pytest.mark.parametrize(("camera", "name"), [("", "RECNX"), ("north fence", "north fence")])
def test_a_camera_that_does_not_give_its_name(tmp_path: Path, camera: str, name: str):
    put(tmp_path / "card/DCIM/101RECNX/IMG_1.JPG", photo(1))
    assert [each.source for each in from_card(tmp_path / "card", camera=camera)] == [name]
    put(tmp_path / "loose/a.jpg", photo(1))
    assert [each.source for each in from_card(tmp_path / "loose", camera=camera)] == [camera or "loose"]


def test_two_cards_with_the_same_names_and_one_card_twice(tmp_path: Path):
    for n, card in enumerate(("a", "b")):
        put(tmp_path / card / "DCIM/100MEDIA/IMG_0001.JPG", photo(n))
        import_pictures(from_card(tmp_path / card, "no_bear", camera="yard"), tmp_path / "out")
    again = import_pictures(from_card(tmp_path / "b", "no_bear", camera="yard"), tmp_path / "out")
    assert again.by_kind == {"already there": 1}
    assert len(read_catalog(tmp_path / "out").pictures) == 2


def test_unsorted_pictures_are_left_out_until_they_are_moved(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    out = tmp_path / "out"
    for n in range(4):
        put(tmp_path / f"card/{n}.jpg", photo(n))
    import_pictures(from_card(tmp_path / "card", camera="c"), out)
    with pytest.raises(CatalogError, match="no pictures with a label"):
        read_catalog(out)
    assert "4 unsorted pictures are skipped" in caplog.text
    for n, folder in enumerate(["brown_bear", "grizzly", "tent"]):
        (out / folder).mkdir()
        (out / f"unsorted/c/{n}.jpg").rename(out / folder / f"renamed-{n}.jpg")
    put(out / "no_bear/stranger.jpg", photo(50))
    done = sort_moved(out)
    assert (done.moved, done.unsorted) == ({"brown_bear": 2}, 2)
    assert done.folders == ("tent",)
    assert sorted(done.unlisted) == ["no_bear/stranger.jpg", "tent/renamed-2.jpg"]
    assert {p.file.name: (p.label, p.source) for p in read_catalog(out).pictures} == {
        "renamed-0.jpg": ("brown_bear", "c"), "renamed-1.jpg": ("brown_bear", "c"),
    }  # fmt: skip
    assert import_pictures(from_card(tmp_path / "card", camera="c"), out).by_kind == {"already there": 4}
    (out / "brown_bear/renamed-0.jpg").unlink()
    assert sort_moved(out).gone == ("brown_bear/renamed-0.jpg",)
    with pytest.raises(OptionError, match="no such folder"):
        sort_moved(tmp_path / "nowhere")


def test_pictures_that_lie_in_the_folder_already_stay_where_they_are(tmp_path: Path):
    put(tmp_path / "no_bear/yard/a.jpg", photo(1))
    put(tmp_path / "left-out/b.jpg", photo(2))
    import_pictures(from_folder(tmp_path, plain_label, source="own"), tmp_path)
    [known] = read_catalog(tmp_path).pictures
    assert (known.file, known.label, known.group) == (tmp_path / "no_bear/yard/a.jpg", "no_bear", "yard")
    assert len(list(tmp_path.rglob("*.jpg"))) == 2
    assert import_pictures(from_folder(tmp_path, plain_label, source="own"), tmp_path).by_kind == {"already there": 1}


def test_a_folder_called_unsorted_is_left_out_without_a_table_too(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    put(tmp_path / "unsorted/a.jpg", photo(1))
    put(tmp_path / "no_bear/b.jpg", photo(2))
    assert [p.file.name for p in read_catalog(tmp_path).pictures] == ["b.jpg"]
    assert "1 unsorted picture is skipped" in caplog.text


def clip(path: Path, still: int = 10, moving: int = 10) -> Path:
    """A clip of 10 pictures a second: first nothing changes, then a dark square walks."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for n in range(still + moving):
        frame = picture(1, (320, 240)).copy()
        if n >= still:
            x = 20 + 20 * (n - still)
            frame[100:140, x : x + 40] = 0
        writer.write(frame)
    writer.release()
    return path


def test_frames_of_a_clip(tmp_path: Path):
    found = list(from_clip(clip(tmp_path / "walk.avi"), "brown_bear", every_s=0.2))
    assert [each.name for each in found] == [f"walk-{n * 0.2:08.2f}" for n in range(10)]
    assert {each.group for each in found} == {"walk"}
    counts = import_pictures(iter(found), tmp_path / "out")
    assert counts.by_kind["new"] == 6  # what stood still is one picture, and each step of what walked
    again = import_pictures(from_clip(tmp_path / "walk.avi", "brown_bear", every_s=0.2), tmp_path / "out")
    assert not again.by_kind["new"]
    assert len(list(from_clip(tmp_path / "walk.avi", "brown_bear", every_s=0.2, most=3))) == 3


def test_what_is_no_clip_is_a_sentence(tmp_path: Path):
    put(tmp_path / "no.mp4", b"no clip" * 100)
    for path, words in ((tmp_path / "no.mp4", "not a clip"), (tmp_path / "none.mp4", "no such clip")):
        with pytest.raises(SourceError, match=words):
            list(from_clip(path, "no_bear"))


def test_exif_that_is_missing_or_odd():
    assert read_exif(photo(1)).taken_at == ""
    assert read_exif(b"no picture").camera == ""
    assert read_exif(shot(1, "2024:05:01 03:12:07", "Canon", "Canon EOS R5")).camera == "Canon EOS R5"
    assert read_exif(shot(1, "some day")).taken is None
    assert read_exif(shot(1, make="Ca\x1b[2Jnon\0\0")).camera == "Ca [2Jnon"


def test_a_png_that_only_has_when_it_was_saved_counts_as_taken_then():
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0132] = "2023:10:29 02:30:00"
    Image.new("RGB", (32, 24)).save(data, "PNG", exif=exif)
    assert read_exif(data.getvalue()).taken_at == "2023-10-29T02:30:00"


def test_files_that_are_bad_are_named_and_the_rest_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    put(tmp_path / "in/good.jpg", photo(1))
    put(tmp_path / "in/page.jpg", b"<html></html>")
    put(tmp_path / "in/cut.jpg", photo(2)[:900])
    put(tmp_path / "in/empty.jpg", b"")
    put(tmp_path / "in/small.png", cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes())
    counts = import_pictures(from_folder(tmp_path / "in", "no_bear"), tmp_path / "out")
    assert counts.by_kind == {"new": 1, "not a picture": 1, "truncated": 1, "empty": 1, "too small": 1}
    assert "page.jpg: a web page" in caplog.text


def test_a_file_that_goes_away_meanwhile_is_left_out(tmp_path: Path):
    first, second = (put(tmp_path / f"in/{n}.jpg", photo(n)) for n in range(2))
    offered = from_card(tmp_path / "in", "no_bear")
    found = [next(offered)]
    second.unlink()
    assert import_pictures(chain(found, offered), tmp_path / "out").by_kind == {"new": 1, "unreadable": 1}
    assert first.is_file()  # copied, not moved


def test_ctrl_c_keeps_what_came(tmp_path: Path):
    for n in range(3):
        put(tmp_path / f"in/{n}.jpg", photo(n))

    def broken_off() -> Iterator[Offer]:
        some = from_folder(tmp_path / "in", "no_bear")
        yield next(some)
        yield next(some)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_pictures(broken_off(), tmp_path / "out")
    assert len(read_catalog(tmp_path / "out").pictures) == 2
    assert import_pictures(from_folder(tmp_path / "in", "no_bear"), tmp_path / "out").by_kind == {
        "already there": 2,
        "new": 1,
    }


def test_a_source_that_breaks_off_keeps_what_came(tmp_path: Path):
    put(tmp_path / "in/0.jpg", photo(0))

    def broken_off() -> Iterator[Offer]:
        yield from from_folder(tmp_path / "in", "no_bear")
        raise SourceError("the network went away")

    with pytest.raises(BearAlarmError, match="went away"):
        import_pictures(broken_off(), tmp_path / "out")
    assert len(read_catalog(tmp_path / "out").pictures) == 1


def test_folders_sorted_by_hand_are_not_hidden_by_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    put(tmp_path / "pictures/brown_bear/camera-1/a.jpg", photo(1))
    put(tmp_path / "card/b.jpg", photo(2))
    with pytest.raises(OptionError, match=r"'brown_bear' and no MANIFEST.csv.*gather folder .*pictures --out"):
        import_pictures(from_folder(tmp_path / "card", "no_bear"), tmp_path / "pictures")
    assert not (tmp_path / "pictures/MANIFEST.csv").exists()
    import_pictures(from_folder(tmp_path / "pictures", plain_label), tmp_path / "pictures")
    import_pictures(from_folder(tmp_path / "card", "no_bear"), tmp_path / "pictures")
    assert read_catalog(tmp_path / "pictures").count("label") == {"brown_bear": 1, "no_bear": 1}
    assert "skipped" not in caplog.text
    put(tmp_path / "pictures/brown_bear/camera-2/c.jpg", photo(3))
    read_catalog(tmp_path / "pictures")
    assert "1 pictures in its folders are not in MANIFEST.csv and are skipped" in caplog.text


def test_a_slip_in_a_label_is_not_taken_for_no_bear():
    with pytest.raises(OptionError, match="did you mean brown_bear") as reported:
        plain_label("brwon_bear")
    assert "no_bear any" not in str(reported.value)
    with pytest.raises(OptionError, match="--label 'Käfig Süd=LABEL'"):
        plain_label("Käfig Süd")


def test_a_cards_pictures_are_a_trail_cameras_and_never_count_as_animals_that_fill_the_frame(tmp_path: Path):
    put(tmp_path / "card/a.jpg", photo(1))
    put(tmp_path / "web/no_bear/b.jpg", photo(2))
    import_pictures(from_card(tmp_path / "card", "no_bear", note="fox"), tmp_path / "out")
    import_pictures(from_folder(tmp_path / "web", plain_label), tmp_path / "out")
    card, web = sorted(read_catalog(tmp_path / "out").pictures, key=lambda picture: picture.note, reverse=True)
    assert card.note == "fox; trail camera"
    assert kind_of(card) == "fox"
    assert (is_trail(card), is_trail(web)) == (True, False)
    assert (card.of_trail_camera, web.of_trail_camera) == (True, False)


def test_the_table_has_which_pictures_are_whole_frames_of_trail_cameras_and_which_are_grey(tmp_path: Path):
    grey = np.repeat(picture(2, (160, 120))[..., 1:2], 3, axis=2)
    put(tmp_path / "own/no_bear/a.jpg", photo(1))
    put(tmp_path / "own/no_bear/b.jpg", jpeg(grey))
    import_pictures(from_folder(tmp_path / "own", plain_label, trail_camera=True), tmp_path / "out")
    found = {picture.file.stem: picture for picture in read_catalog(tmp_path / "out").pictures}
    assert all(each.of_trail_camera for each in found.values())
    assert {name[-1]: each.grey_or_ir for name, each in found.items()} == {"a": False, "b": True}
