"""``bear-alarm gather`` as a person types it, against a server on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import CatalogError
from tests.helpers.command import ROOT, bear_alarm
from tests.helpers.far_side import FarSide, photo
from tests.train_data.test_gather_sources import file_page, observation, occurrence, trap_set
from train.data.catalog import only_shippable, read_catalog
from train.data.pictures import check_trainable
from train.data.split import read_split, split_catalog, write_split
from train.data.table import Table
from train.learn.examples import PictureCache, skip_broken

pytest.importorskip("imagehash")

DOOR = "from edge.cli.main import main\nmain()\n"
OWN = {"PYTHONPATH": str(ROOT)}


def gather(*words: str | Path, cwd: Path, code: int = 0) -> str:
    """Run the command; its words on standard error."""
    done = bear_alarm("gather", *words, cwd=cwd)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def far() -> Iterator[FarSide]:
    with FarSide() as side:
        side.files = {f"/photos/{n}/large.jpeg": photo(n) for n in range(100)}
        yield side


def test_inaturalist_from_the_first_question_to_the_table_and_again(far: FarSide, tmp_path: Path):
    far.observations = [observation(n, ["cc-by", "cc-by-nc"]) for n in range(1, 5)]
    for each in far.observations:
        for shown in each["photos"]:
            shown["url"] = f"{far.base}/photos/{shown['id']}/square.jpeg"
    far.files["/photos/20/large.jpeg"] = b"<html>no</html>"
    typed = ("inaturalist", "Ursus arctos", "--label", "brown_bear", "--api", f"{far.base}/v1", "--limit", "20")
    printed = gather(*typed, cwd=tmp_path)
    assert "for at most 20 photographs of Ursus arctos in research-grade observations" in printed
    assert "3 new pictures in pictures, which now has 3" in printed
    assert "1 not a picture" in printed
    found = read_catalog(tmp_path / "pictures").pictures
    assert {(p.label, p.source, p.licence) for p in found} == {("brown_bear", "iNaturalist", "CC BY")}
    fetched = len(far.paths("/photos/"))
    assert "0 new pictures in pictures, which now has 3, 4 were in it already" in gather(*typed, cwd=tmp_path)
    assert len(far.paths("/photos/")) == fetched  # nothing is fetched twice, what was no picture neither


def test_gbif_and_commons(far: FarSide, tmp_path: Path):
    by = "http://creativecommons.org/licenses/by/4.0/"
    media = {"type": "StillImage", "identifier": f"{far.base}/photos/1/large.jpeg", "license": by}
    far.occurrences = [occurrence(1, by, media=[media])]
    assert "1 new picture in" in gather(
        "gbif", "Ursus arctos", "--label", "brown_bear", "--api", f"{far.base}/v1/", "-o", "set", cwd=tmp_path
    )
    far.pages = [file_page(7, url=f"{far.base}/photos/7/large.jpeg", thumburl=f"{far.base}/photos/8/large.jpeg")]
    printed = gather(
        "commons", "black bear", "--label", "black_bear", "--api", f"{far.base}/w/api.php", "-o", "set",
        "--contact", "someone@example.org", cwd=tmp_path,
    )  # fmt: skip
    assert "which now has 2" in printed
    assert {p.source for p in read_catalog(tmp_path / "set").pictures} == {"GBIF Set", "Wikimedia Commons"}
    assert "someone@example.org" in far.asked[-1].agent


def test_lila_by_address_with_boxes(far: FarSide, tmp_path: Path):
    path = trap_set(tmp_path)
    far.files |= {f"/set/p{n % 3}/{n}.jpg": photo(200 + n, (200, 100)) for n in range(30)}
    printed = gather("lila", path, cwd=tmp_path, code=2)
    assert "empty 15, american black bear 14, deer 2" in printed
    typed = ("lila", path, "--label", "American Black Bear=black_bear", "--label", "empty=no_bear", "--limit", "8")
    printed = gather(*typed, "--base-url", f"{far.base}/set", "--licence", "CDLA-Permissive-1.0", cwd=tmp_path)
    found = read_catalog(tmp_path / "pictures").pictures
    assert Counter(p.label for p in found) == {"black_bear": 4, "no_bear": 4}
    assert {p.licence for p in found} == {"CDLA-Permissive"}
    assert "8 new pictures" in printed
    assert "give --images DIR" in gather(*typed, cwd=tmp_path, code=2)


def test_nothing_is_asked_unless_it_is_meant(far: FarSide, tmp_path: Path):
    api = ("--api", f"{far.base}/v1")
    gather("inaturalist", "Ursus arctos", "--label", "brown_bear", *api, "--dry-run", cwd=tmp_path)
    gather("inaturalist", "Ursus arctos", "--label", "dragon", *api, cwd=tmp_path, code=2)
    gather("inaturalist", "Ursus arctos", "--label", "bear", "--since", "May", *api, cwd=tmp_path, code=2)
    assert far.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_is_not_there_is_a_sentence(tmp_path: Path):
    with FarSide() as side:
        base = side.base
    printed = gather("gbif", "Ursus arctos", "--label", "bear", "--api", f"{base}/v1/", cwd=tmp_path, code=2)
    assert "no answer" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_gives_no_picture_is_a_sentence(far: FarSide, tmp_path: Path):
    far.pages = [file_page(7, url=f"{far.base}/a.jpg", width=100)]
    far.answers["/a.jpg"] = [(429, {"Retry-After": "9999"}, b"")]
    printed = gather("commons", "b", "--label", "bear", "--api", f"{far.base}/w/api.php", cwd=tmp_path, code=2)
    assert "no picture could be fetched" in printed
    assert "167 minutes" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(far: FarSide, tmp_path: Path):
    far.observations = [observation(n, ["cc-by"]) for n in range(1, 9)]
    for each in far.observations:
        each["photos"][0]["url"] = f"{far.base}/photos/{each['id'] * 10}/square.jpeg"
    slow = "/photos/40/large.jpeg"
    far.answers[slow] = [(503, {"Retry-After": "60"}, b"")] * 5
    typed = ["gather", "inaturalist", "U", "--label", "bear", "--api", f"{far.base}/v1"]
    child = subprocess.Popen(
        [sys.executable, "-c", DOOR, *typed], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | OWN
    )
    until = time.monotonic() + 60
    out = tmp_path / "pictures"
    while (slow not in far.paths("/photos/") or not list(out.rglob("*.jpg"))) and time.monotonic() < until:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, printed = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in printed
    assert 1 <= len(read_catalog(out).pictures) < 8
    assert not list(out.rglob("*.part"))
    far.answers[slow] = []
    gather(*typed[1:], cwd=tmp_path)
    assert len(read_catalog(out).pictures) == 8
    assert max(Counter(far.paths("/photos/")).values()) <= 2


def test_two_runs_into_one_folder_take_turns(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(photo(1))
    with Table(tmp_path / "pictures"):
        printed = gather("folder", "in", "--label", "no_bear", cwd=tmp_path, code=2)
    assert "another program is gathering into it" in printed
    assert "1 new picture in" in gather("folder", "in", "--label", "no_bear", cwd=tmp_path)


def test_a_card_and_its_sorting(tmp_path: Path):
    (tmp_path / "card").mkdir()
    for n in range(3):
        (tmp_path / f"card/{n}.jpg").write_bytes(photo(n))
    gather("card", "card", "--camera", "yard", cwd=tmp_path)
    (tmp_path / "pictures/no_bear").mkdir()
    (tmp_path / "pictures/unsorted/yard/1.jpg").rename(tmp_path / "pictures/no_bear/1.jpg")
    assert "pictures: 1 no_bear; 2 unsorted." in gather("sort", cwd=tmp_path)


@pytest.mark.parametrize(("missing", "words"), [("imagehash", "needs imagehash"), ("PIL", "needs PIL")])
def test_a_missing_extra_is_a_sentence(tmp_path: Path, missing: str, words: str):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(photo(1))
    code = f"import sys\nsys.modules[{missing!r}] = None\n" + DOOR
    done = subprocess.run(
        [sys.executable, "-c", code, "gather", "folder", "in", "--label", "no_bear"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env=os.environ | OWN,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
    assert "[gather]'" in done.stderr


def test_a_table_of_several_sources_can_be_trained_on_and_shipped(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from train.data.gather.download import import_pictures
    from train.data.gather.local import from_folder

    for n, label in enumerate(["brown_bear", "no_bear"] * 3):
        for k in range(2):
            (tmp_path / f"in{n}").mkdir(exist_ok=True)
            (tmp_path / f"in{n}/{k}.jpg").write_bytes(photo(10 * n + k))
        licence = "own" if n else "CC BY-NC 4.0"
        import_pictures(from_folder(tmp_path / f"in{n}", label, licence=licence), tmp_path / "pictures")
    catalog = read_catalog(tmp_path / "pictures")
    check_trainable(catalog)
    split = split_catalog(catalog, 7, tune=["in2", "in3"], test=["in4", "in5"])
    kept = only_shippable(catalog)
    assert (len(kept.pictures), len(kept.left_out)) == (10, 2)
    assert kept.digest != catalog.digest
    assert "2 of 12 pictures are skipped" in caplog.text
    assert "2 CC BY-NC 4.0" in caplog.text
    # A run's split holds what it left out, so that `export` reads the same table back.
    split["train"] = [picture for picture in split["train"] if picture in kept.pictures]
    write_split(split, kept.root, tmp_path / "split.csv", kept.left_out)
    assert read_split(catalog, tmp_path / "split.csv") == split
    split["train"][0].file.write_bytes(b"")  # one of ten: what is broken joins what may not be passed on
    left, _ = skip_broken(kept, split, PictureCache(), lambda items, words: iter(items))
    assert left.left_out == (*kept.left_out, split["train"][0])
    with pytest.raises(CatalogError, match="train without --shippable"):
        only_shippable(replace(catalog, pictures=kept.left_out))
