"""Shards: cut so that the results are those of one run, done once, safe to run twice, and nothing lost."""

from __future__ import annotations

import csv
import errno
import json
import logging
import os
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.batch import shards
from edge.batch.look import find_files, look_at, read_heads, read_table
from edge.batch.shards import Shards
from edge.detect.classifier import Classifier
from edge.detect.sequences import CardPictures
from edge.detect.stills import Results
from edge.errors import OptionError, PictureError
from edge.files import try_lock
from tests.helpers.card import CUT, card, clip, picture, results_of
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, plain, tiny_card, write_tiny_model
from tests.helpers.trail_card import SIZE_WH, place, shown, written

MAYBE_COLOUR = (20, 150, 153)  # between half the tiny model's threshold and the threshold
HOUR_S = 3600
MATTER = {"bursts", "every_four_seconds", "without_time", "by_number", "two_cameras", "later_another"}  # how it is cut


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(write_tiny_model(tmp_path_factory.mktemp("model") / "m.onnx", tiny_card()))


def shot(file: Path, number: int, after_s: float | None, **how):
    """A picture of a place, with a bear that walks at times, and at times all in a colour that may be one."""
    if number % 7 in {3, 4}:
        return written(file, plain(MAYBE_COLOUR, *SIZE_WH[::-1]), after_s, **how)
    return written(file, shown(place(), (5 * number % 250, 60) if number % 5 == 2 else None, light=0.8), after_s, **how)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Folders as they come back from the field, small and large."""
    base = tmp_path_factory.mktemp("field")
    for n in range(45):
        shot(base / "bursts" / f"IMG_{n:04d}.jpg", n // 3, HOUR_S * (n // 3) + 2 * (n % 3))
        shot(base / "every_four_seconds" / f"{n:02d}.jpg", n // 3, 4 * n)
        shot(base / "without_time" / f"{n:02d}.jpg", n, None)
        shot(base / "by_number" / f"{n}.jpg", n // 3, HOUR_S * (n // 3) + 3 * (n % 3))
    for n in range(25):
        shot(base / "two_cameras" / f"{n:02d}.jpg", n // 2, HOUR_S * n, serial=f"A{n % 2}")
    for n in range(60):
        shot(base / "clock_stands_still" / f"{n:02d}.jpg", 3, 0)
    for n in range(40):  # bursts of four, of which the second camera takes the last seven pictures
        shot(base / "later_another" / f"{n:02d}.jpg", n // 4, HOUR_S * (n // 4) + n % 4, serial=f"A{n > 32}")
    clip(base / "bursts" / "IMG_0020.avi", [NO_BEAR_COLOUR] * 10 + [BEAR_COLOUR] * 10)
    card(base / "few", {"a/1.jpg": BEAR_COLOUR, "b/1.jpg": TEDDY_COLOUR, "cut.jpg": CUT})
    return base


@pytest.fixture(scope="module")
def whole(field, classifier, tmp_path_factory):
    """The entries of one run over all of it, by name."""
    files, base = find_files([field])
    names = {file: file.relative_to(field).as_posix() for file in files}
    results = Results(tmp_path_factory.mktemp("whole") / "r.json", classifier.card, classifier.name, base, 1.0)
    heads = CardPictures(read_heads(files, 2))
    for finding, row in look_at(classifier, heads, files, names, fps=1.0, workers=2):
        results.add(finding, row)
    results.save()
    return results_of(results.path)


def run(plan, classifier, **how):
    return [plan.run(number, lambda: classifier, workers=2, **how) for number in plan.undone()]


def entries(plan):
    """All entries of a plan by name; none is there twice."""
    found = [image for file in plan.results() for image in json.loads(file.read_bytes())["images"]]
    assert max(Counter(image["file"] for image in found).values()) == 1
    return {image["file"]: image for image in found}


@pytest.mark.parametrize("size", [7, 10, 20, 2000])
def test_results_are_those_of_one_run_whatever_the_size(tmp_path, field, whole, classifier, size):
    plan = Shards.cut(tmp_path / "s", [field], classifier.name, None, workers=2, size=size)
    assert len(plan.numbers()) >= len(whole) / 2 / size
    shard = {each.file: n for n in plan.numbers() for each in plan._list(n)[0] if not each.context}
    in_several = {
        folder for folder in MATTER if len({shard[name] for name in whole if Path(name).parent.name == folder}) > 1
    }
    assert in_several == (MATTER if size < 25 else set())
    assert set(run(plan, classifier)) == {"done"}
    assert entries(plan) == whole


def test_the_field_has_bursts_and_regions_that_matter(field, whole, classifier):
    """Else the results would be the same, however it is cut."""
    alone = {}
    for file in find_files([field])[0]:
        for _, row in look_at(classifier, CardPictures([]), [file], {file: file.name}, fps=1.0, workers=1):
            alone[file.relative_to(field).as_posix()] = row.verdict
    better = {Path(name).parent.name for name, image in whole.items() if image["bear_alarm"]["verdict"] != alone[name]}
    assert better == MATTER


def test_no_burst_is_cut_and_no_clock_that_stands_still(tmp_path, field, classifier):
    plan = Shards.cut(tmp_path / "s", [field], classifier.name, None, workers=2, size=7)
    shard = {each.file: n for n in plan.numbers() for each in plan._list(n)[0] if not each.context}
    for n in range(0, 40, 4):
        assert len({shard[f"later_another/{m:02d}.jpg"] for m in range(n, n + 4) if (m > 32) == (n > 32)}) == 1
    assert len({shard[f"clock_stands_still/{n:02d}.jpg"] for n in range(60)}) == 1


@pytest.mark.parametrize(("pictures", "size"), [(3, 50), (1600, 100), (40_000, 2000)])
def test_there_are_shards_for_all_cores(tmp_path, classifier, monkeypatch, pictures, size):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})
    groups = [[folder / f"{n}.jpg" for n in range(m, min(m + 20, pictures))] for m in range(0, pictures, 20)]
    monkeypatch.setattr(shards, "_groups", lambda paths: iter(groups))
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)
    assert (plan.size, Shards.open(tmp_path / "s").size) == (size, size)
    assert sum(map(plan.pictures, plan.numbers())) == pictures


def test_small_folders_lie_together_and_none_is_cut(tmp_path, classifier):
    folder = card(tmp_path / "card", {f"{name}/{n}.jpg": BEAR_COLOUR for name in "abcde" for n in range(4)})
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1, size=10)
    assert [plan.pictures(n) for n in plan.numbers()] == [8, 8, 4]


def test_a_shard_is_looked_at_once(tmp_path, classifier, monkeypatch):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "cut.jpg": CUT})
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)
    lock = os.open(tmp_path / "s" / "00001.lock", os.O_RDWR | os.O_CREAT)
    assert try_lock(lock)
    assert (plan.run(1, pytest.fail, workers=1), plan.done(1), plan.free(1)) == ("elsewhere", False, False)
    os.close(lock)
    assert plan.free(1)
    seen = list[int]()
    assert plan.run(1, lambda: classifier, workers=1, progress=seen.append) == "done"
    assert seen == [1, 2]
    assert "truncated" in entries(plan)["cut.jpg"]["failure"]
    assert plan.run(1, pytest.fail, workers=1, progress=seen.append) == "already"  # and no model is loaded
    assert (seen, plan.undone(), plan.unread()) == ([1, 2], [], [1])
    (folder / "cut.jpg").write_bytes(picture(BEAR_COLOUR))
    assert plan.run(1, lambda: classifier, workers=1, retry=True, progress=seen.append) == "done"
    assert (seen, plan.unread()) == ([1, 2, 1, 2], [])  # all of it: the others of a burst count
    assert plan.run(1, lambda: classifier, workers=1, retry=True) == "already"
    with pytest.raises(OptionError, match=r"--shard 2: .* has the shards 1 to 1"):
        plan.run(2, lambda: classifier, workers=1)


def test_one_cuts_at_a_time(tmp_path, classifier, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})
    (tmp_path / "s").mkdir()
    lock = os.open(tmp_path / "s" / "shards.lock", os.O_RDWR | os.O_CREAT)
    assert try_lock(lock)
    waits = SimpleNamespace(sleep=lambda seconds: os.close(lock))  # not that of threads of other tests
    monkeypatch.setattr(shards, "time", waits)
    Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)
    waiting, cut = (record.message for record in caplog.records)
    assert ("waiting for it" in waiting, cut) == (True, "1 picture: 1 shard")


def test_where_there_are_no_locks_it_works_and_says_so(tmp_path, classifier, monkeypatch, caplog):
    def none(file):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(shards, "try_lock", none)
    plan = Shards.cut(
        tmp_path / "s", [card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})], classifier.name, None, workers=1
    )
    assert plan.run(1, lambda: classifier, workers=1) == "done"
    assert "two processes may look at one shard" in caplog.text


def test_pictures_that_came_since_get_shards_of_their_own(tmp_path, classifier, caplog):
    caplog.set_level(logging.INFO)
    folder = card(tmp_path / "card", {"a/1.jpg": BEAR_COLOUR})
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)
    assert run(plan, classifier) == ["done"]
    card(folder, {"a/2.jpg": NO_BEAR_COLOUR, "b/1.jpg": BEAR_COLOUR})
    for _ in range(2):
        plan = Shards.cut(tmp_path / "s", [folder], None, None, workers=1)
    assert [record.message for record in caplog.records] == ["1 picture: 1 shard", "2 new pictures: 1 more shard"]
    assert (plan.numbers(), plan.undone()) == ([1, 2], [2])
    assert run(plan, classifier) == ["done"]
    assert set(entries(plan)) == {"a/1.jpg", "a/2.jpg", "b/1.jpg"}


def test_pictures_that_came_since_are_compared_with_all_and_a_burst_of_their_own(tmp_path, classifier):
    """Half of a burst came before, and the one picture of a small bear; the next is compared with those after it."""
    folder = tmp_path / "card"

    def taken(after_s):
        return shot(folder / f"{after_s}.jpg", 3, after_s)

    taken(0)
    for n in range(12):
        shot(folder / f"before{n}.jpg", 1, HOUR_S * (n + 2))
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)
    run(plan, classifier)
    late = [taken(after_s) for after_s in (6, 8, 14)]  # from the old one on it would be a burst of two
    late.append(shot(folder / "bear.jpg", 2, HOUR_S))
    plan = Shards.cut(tmp_path / "s", [folder], None, None, workers=1)
    run(plan, classifier)
    found = entries(plan)
    assert [found[file.name]["bear_alarm"]["verdict"] for file in late] == ["bear"] * 4


def test_another_model_or_fps_is_refused(tmp_path, classifier):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})
    plan = Shards.cut(tmp_path / "s", [folder], "old@1", 2.0, workers=1)
    for model, fps, why in ((classifier.name, 2.0, "model old@1, not tiny@"), ("old@1", 1.0, "--fps 2, not 1")):
        with pytest.raises(OptionError, match=f"{why}.*; name another --shards folder"):
            Shards.cut(tmp_path / "s", [folder], model, fps, workers=1)
    with pytest.raises(OptionError, match="model old@1, not tiny@"):
        plan.run(1, lambda: classifier, workers=1)


def test_results_that_are_cut_off_are_not_done_and_what_a_kill_left_is_removed(tmp_path, classifier):
    folder, where = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "b.jpg": NO_BEAR_COLOUR}), tmp_path / "s"
    where.mkdir()
    for name in (".shards.json.77.part", ".00001.csv.77.part", ".00001.json.77.part", ".DS_Store"):
        (where / name).touch()
    plan = Shards.cut(where, [folder], classifier.name, None, workers=1)
    run(plan, classifier)
    assert [each.name for each in where.glob(".*")] == [".DS_Store"]
    whole = plan.results()[0].read_bytes()
    for cut in (whole[: len(whole) * 2 // 3], whole[:-1], whole[:2], b""):
        plan.results()[0].write_bytes(cut)
        assert plan.undone() == [1]
    run(plan, classifier)
    (where / "7.csv").touch()  # a table that somebody wrote there
    assert (plan.numbers(), plan.undone()) == ([1], [])


def test_the_folder_is_one_of_shards(tmp_path, classifier):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})
    other = card(tmp_path / "other", {"a.jpg": BEAR_COLOUR})

    def cut(where, *paths):
        return Shards.cut(tmp_path / where, paths, classifier.name, None, workers=1)

    for where, paths, error, why in (
        ("no/s", [folder], OptionError, "there is no folder"),
        ("other", [folder], OptionError, "holds other files"),
        ("s", [tmp_path / "nothing"], PictureError, "no such picture or folder"),
        ("s", [tmp_path / "no"], PictureError, "holds no pictures"),
    ):
        (tmp_path / "no").mkdir(exist_ok=True) if why == "holds no pictures" else None
        with pytest.raises(error, match=why):
            cut(where, *paths)
    assert cut("s", folder).numbers() == [1]  # what was mistyped before left no plan
    with pytest.raises(OptionError, match="holds no shards; give the pictures"):
        Shards.open(tmp_path / "t")
    with pytest.raises(OptionError, match=r"holds the shards of .*card"):
        cut("s", other)
    folder.rename(tmp_path / "away")  # with its disk away too
    with pytest.raises(OptionError, match=r"holds the shards of .*card"):
        cut("s", other)
    plan = tmp_path / "s" / "shards.json"
    later = plan.read_text().replace('"version": 1', '"version": 2')
    for text, why in ((later, "version 2, not 1"), ("mine", "is no plan of shards")):
        plan.write_text(text)
        with pytest.raises(OptionError, match=why):
            cut("s", folder)


def test_a_disk_that_is_not_there_is_no_broken_picture(tmp_path, classifier):
    folder = card(tmp_path / "card", {"a/1.jpg": BEAR_COLOUR, "a/2.jpg": NO_BEAR_COLOUR})
    (tmp_path / "link").symlink_to(folder)
    plan = Shards.cut(tmp_path / "s", [tmp_path / "link"], classifier.name, None, workers=1)
    moved = folder.rename(tmp_path / "elsewhere")
    for why in ("cannot be read", "is empty"):
        with pytest.raises(OptionError, match=f"the folder of the pictures {why}"):
            plan.run(1, lambda: classifier, workers=1)
        folder.mkdir(exist_ok=True)  # as a mount point
    plan = Shards.open(tmp_path / "s", moved)
    with pytest.raises(OptionError, match="is empty"):
        plan.run(1, lambda: classifier, workers=1, progress=lambda n: shutil.rmtree(moved / "a", ignore_errors=True))
    assert not (tmp_path / "s" / "00001.json").exists()
    card(moved, {"a/1.jpg": BEAR_COLOUR, "a/2.jpg": NO_BEAR_COLOUR})
    assert run(plan, classifier) == ["done"]
    assert json.loads(plan.results()[0].read_bytes())["info"]["base_folder"] == str(tmp_path / "link")


def test_a_wrong_place_or_a_part_of_a_disk_leaves_no_rows(tmp_path, classifier):
    """Two cameras' disks, one of which goes; a folder too deep; another disk; a table's pictures on another disk."""
    tops = [card(tmp_path / "disks" / name, {f"x/{name}.jpg": BEAR_COLOUR}) for name in "ab"]
    plan = Shards.cut(tmp_path / "s", tops, classifier.name, None, workers=1)
    single = Shards.cut(tmp_path / "t", tops[:1], classifier.name, None, workers=1)
    listing = table(tmp_path / "t.csv", ["file"], ["disks/a/x/a.jpg"])
    listed = Shards.cut(tmp_path / "u", [listing], classifier.name, None, workers=1)
    with pytest.raises(OptionError, match=r"holds none of the pictures, such as x/a\.jpg"):
        Shards.open(tmp_path / "t", tops[0] / "x").run(1, lambda: classifier, workers=1)
    with pytest.raises(OptionError, match="holds none of the pictures"):
        Shards.open(tmp_path / "t", tops[1]).run(1, lambda: classifier, workers=1)
    away = tops[0].rename(tmp_path / "away")
    for why in ("cannot be read", "is empty"):
        with pytest.raises(OptionError, match=f"{tops[0]}: the folder of the pictures {why}"):
            plan.run(1, lambda: classifier, workers=1)
        with pytest.raises((OptionError, PictureError), match=f"{why}|no such"):
            Shards.cut(tmp_path / "t", tops[:1], None, None, workers=1)
        with pytest.raises(OptionError, match="holds none of the pictures"):
            listed.run(1, lambda: classifier, workers=1)
        tops[0].mkdir(exist_ok=True)
    assert not list(tmp_path.glob("?/00001.json"))
    tops[0].rmdir()
    away.rename(tops[0])
    assert [run(each, classifier) for each in (plan, single, listed)] == [["done"]] * 3


def test_a_folder_that_was_moved_since_is_files_that_could_not_be_read(tmp_path, classifier):
    folder = card(tmp_path / "card", {f"{name}/{n}.jpg": BEAR_COLOUR for name in "ab" for n in range(2)})
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1, size=2)
    (folder / "a").rename(tmp_path / "a")
    assert run(plan, classifier) == ["done", "done"]
    found = entries(plan)
    assert [found[name].get("failure") for name in sorted(found)] == [
        "a/0.jpg: no such picture", "a/1.jpg: no such picture", None, None,
    ]  # fmt: skip
    assert plan.unread() == [1]


def test_a_card_and_shards_look_at_the_same_files(tmp_path, classifier):
    folder = card(tmp_path / "card", {"a/1.jpg": BEAR_COLOUR, "2.jpg": BEAR_COLOUR, "a/._1.jpg": BEAR_COLOUR})
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken.jpg").symlink_to(folder / "none.jpg")
    (folder / "folder.jpg").mkdir()
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)
    assert {folder / each.file for each in plan._list(1)[0]} == set(find_files([folder])[0])
    assert len(find_files([folder.rename(tmp_path / "x.csv")])[0]) == 2  # a folder, whatever its name
    assert plan.pictures(1) == 2


def test_a_full_disk_leaves_no_half_file(tmp_path, classifier, monkeypatch):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})
    plan = Shards.cut(tmp_path / "s", [folder], classifier.name, None, workers=1)

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set((tmp_path / "s").iterdir()) | {tmp_path / "s" / "00001.lock"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OptionError, match="No space left"):
            plan.run(1, lambda: classifier, workers=1)
    assert set((tmp_path / "s").iterdir()) == before
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda where: shutil._ntuple_diskusage(10**9, 10**9, 4_000_000))
        with pytest.raises(OptionError, match=r"only 4\.0 MB are free"):
            plan.run(1, lambda: classifier, workers=1)
    assert run(plan, classifier) == ["done"]


# Tables.


def table(path, heading, *rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows([heading, *rows])
    return path


@pytest.mark.parametrize(
    ("heading", "row", "delimiter"),
    [
        (["file", "note"], ["card/a/1.jpg", "x,y"], ","),
        (["mediaID", "filePath"], ["7", "card/a/1.jpg"], ";"),
        (["File", "RelativePath"], ["1.jpg", "card\\a"], "\t"),
        (["note", " file "], ["Höhe", " card/a/1.jpg "], ";"),
        (["file", "place, hill, valley"], ["card/a/1.jpg", "x"], ";"),
    ],
)
def test_a_table_names_its_files_in_any_of_three_ways(tmp_path, heading, row, delimiter):
    file = table(tmp_path / "t.csv", heading, row, delimiter=delimiter)
    assert read_table(file) == [tmp_path / "card" / "a" / "1.jpg"]
    text = file.read_text("utf-8-sig")
    for encoding in ("cp1252", "utf-16"):
        file.write_bytes(text.encode(encoding))
        assert read_table(file) == [tmp_path / "card" / "a" / "1.jpg"]


def test_a_table_of_windows_has_its_own_letters(tmp_path):
    (tmp_path / "t.csv").write_bytes("file\nHöhle/1.jpg\n".encode("cp1252"))
    assert read_table(tmp_path / "t.csv") == [tmp_path / "Höhle" / "1.jpg"]


def test_a_table_with_files_that_are_not_there(tmp_path, classifier, caplog):
    card(tmp_path / "card", {"a/1.jpg": BEAR_COLOUR, "a/2.jpg": NO_BEAR_COLOUR})
    names = ["card/a/1.jpg", "card/gone/1.jpg", "card/gone/2.jpg"]
    file = table(tmp_path / "t.csv", ["file"], *([name] for name in names))
    plan = Shards.cut(tmp_path / "s", [file], classifier.name, None, workers=1, size=2)
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert f"2 of its 3 files are not there, such as {tmp_path / names[1]}" in warning
    assert run(plan, classifier) == ["done", "done"]
    found = entries(plan)
    assert set(found) == set(names)
    assert [found[name]["bear_alarm"]["verdict"] for name in names] == ["bear", None, None]
    assert found[names[1]]["failure"] == f"{names[1]}: no such picture"


@pytest.mark.parametrize(
    ("heading", "rows", "why"),
    [
        (["file"], [["a.jpg"], ["b.jpg"], ["./a.jpg"]], "lines 2 and 4 both name ./a.jpg"),
        (["file", "note"], [["a.jpg", ""], ["", "x"]], "line 3 names no file"),
        (["picture", "x"], [["a.jpg"]], r"has no column `file` in its first line \(picture, x\)"),
        (["file"], [], "lists no pictures"),
    ],
)
def test_a_table_that_cannot_be_right(tmp_path, heading, rows, why):
    with pytest.raises(OptionError, match=why):
        read_table(table(tmp_path / "t.csv", heading, *rows))
    with pytest.raises(OptionError, match="none of its files is there"):
        find_files([table(tmp_path / "t.csv", ["file"], ["no.jpg"])])
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a.jpg").touch()
    with pytest.raises(OptionError, match=r"pipe\.jpg, which is no file"):
        find_files([table(tmp_path / "t.csv", ["file"], ["a.jpg"], ["pipe.jpg"])])
