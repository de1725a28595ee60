"""One odd character, name, address or record does not stop the rest."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.helpers.command import bear_alarm
from tests.helpers.far_side import FarSide, photo, picture
from tests.train_data.test_gather_sources import file_page, observation, occurrence, trap_set
from train.data.catalog import read_catalog

pytest.importorskip("imagehash")
pytest.importorskip("httpx")
pytest.importorskip("pyinaturalist")
pytest.importorskip("pygbif")
from train.data.gather.download import Downloader, import_pictures, web_client
from train.data.gather.importer import sort_moved
from train.data.gather.local import from_card, from_clip, from_folder, from_set, read_set
from train.data.gather.offers import Offer, parsed
from train.data.gather.online import from_commons, from_gbif, from_inaturalist, from_web

BY = "http://creativecommons.org/licenses/by/4.0/"


@pytest.fixture
def far() -> Iterator[FarSide]:
    with FarSide(files={f"/{n}.jpg": photo(n) for n in range(9)}) as side:
        yield side


def rows(root: Path, name: str = "MANIFEST.csv") -> list[dict[str, str]]:
    """A table as it lies on the disk."""
    with (root / name).open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def media(url: str, **more: Any) -> list[dict[str, Any]]:
    """A photograph of an occurrence at GBIF."""
    return [{"type": "StillImage", "identifier": url, "license": BY, **more}]


ODD_ADDRESSES = ["http://photos..example.org/2.jpg", "http://[photo]/2.jpg", "http://127.0.0.1:9/\ud83d.jpg"]


@pytest.mark.parametrize("url", ODD_ADDRESSES)
def test_one_bad_address_is_left_out_for_good_and_the_rest_comes(far: FarSide, tmp_path: Path, url: str):
    far.occurrences = [occurrence(n, BY, media=media(f"{far.base}/{n}.jpg" if n != 2 else url)) for n in range(1, 6)]
    for counts in ({"new": 4, "no address": 1}, {"already there": 5}):
        with web_client() as client:
            found = from_gbif("Ursus arctos", "brown_bear", limit=9, api=f"{far.base}/v1/")
            assert import_pictures(found, tmp_path, Downloader(client, pause_s=0)).by_kind == counts
    assert len(rows(tmp_path)) == 4
    assert [row["kind"] for row in rows(tmp_path, "LEFT_OUT.csv")] == ["no address"]


def test_odd_characters_and_addresses_as_a_person_meets_them(far: FarSide, tmp_path: Path):
    creators = {1: "Ann \ud83d", 3: "Ann\rBob", 4: "A\x00\nB"}
    urls = {n: f"{far.base}/{n}.jpg" for n in range(1, 6)} | {2: ODD_ADDRESSES[2]}
    far.occurrences = [occurrence(n, BY, media=media(url, creator=creators.get(n, ""))) for n, url in urls.items()]
    typed = ["gather", "gbif", "Ursus arctos", "--label", "brown_bear", "--api", f"{far.base}/v1/"]
    for words in ("4 new pictures", "5 were in it already"):
        done = bear_alarm(*typed, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert words in done.stderr
    authors = [each.author for each in read_catalog(tmp_path / "pictures").pictures]
    assert authors == ["Ann \N{REPLACEMENT CHARACTER}", "Ann Bob", "A B", "A. Observer"]


def test_one_record_that_is_not_understood_is_counted_and_the_rest_comes(far: FarSide, tmp_path: Path):
    far.occurrences = [
        occurrence(1, BY, media=media(f"{far.base}/1.jpg")), occurrence(2, BY, media=["a.jpg"]),
        occurrence(3, BY, media=7), occurrence(4, BY, media=media(f"{far.base}/4.jpg")),
    ]  # fmt: skip
    found = from_gbif("Ursus arctos", "brown_bear", limit=2, api=f"{far.base}/v1/")
    with web_client() as client:
        counts = import_pictures(found, tmp_path, Downloader(client, pause_s=0))
    assert counts.by_kind == {"new": 2, "not understood": 2}  # and --limit counts pictures
    assert "GBIF: AttributeError" in counts.examples["not understood"]
    assert not (tmp_path / "LEFT_OUT.csv").exists()  # the service may mend it


def test_records_of_the_other_services(far: FarSide, monkeypatch: pytest.MonkeyPatch):
    far.observations = [observation(n, ["cc0"]) for n in (1, 2, 3)]
    far.observations[1]["photos"] = [{"license_code": "cc0", "url": "https://far/photos/20/square.jpeg"}]  # no id
    found = list(from_inaturalist("U", "bear_any", limit=9, api=f"{far.base}/v1"))
    assert [each.failed is None for each in found] == [True, False, True]
    far.pages = [file_page(1), file_page(2, width="wide"), file_page(3)]
    with web_client() as client:
        found = list(from_commons("b", "bear_any", client, limit=9, api=f"{far.base}/w/api.php"))
    assert [each.failed is None for each in found] == [True, False, True]
    results: list[Any] = [
        {"image": "https://a.example/1.jpg", "url": "http://[ad]/"}, None, {"image": ["x"], "url": 7},
        {"image": "http://[bad/2.jpg", "url": "https://b.example/"}, {"image": "https://a.example/3.jpg"},
    ]  # fmt: skip
    monkeypatch.setattr("train.data.gather.online.ddgs_images", lambda _, page: results)
    found = list(from_web("b", "bear_any", limit=9))
    assert [(each.url, each.group, each.failed is None) for each in found[:2]] == [
        ("https://a.example/1.jpg", "a.example", True), ("", "", False),
    ]  # fmt: skip
    assert [(each.url, each.group) for each in found[3:5]] == [
        ("http://[bad/2.jpg", "b.example"), ("https://a.example/3.jpg", "a.example"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content["annotations"][1].update(bbox=[None, 1, 2, 3]),
        lambda content: content["images"][1].update(width="wide"),
        lambda content: content["images"][1].update(width=10**400),
        lambda content: content["images"][1].update(file_name="p1/\ud83d.jpg", location="\ud83d"),
    ],
)
def test_one_damaged_line_of_a_camera_trap_set(tmp_path: Path, harm: Any):
    path = trap_set(tmp_path)
    content = json.loads(path.read_text())
    harm(content)
    path.write_text(json.dumps(content))
    labels = {"american black bear": "black_bear"}
    found = list(from_set(read_set(path), labels, limit=99, base_url="https://far/set"))
    assert [sum(each.failed is None for each in found), len(found)] == [12, 13]
    assert sum(each.failed is None for each in from_set(read_set(path), labels, limit=9, images=tmp_path)) == 9


def test_a_mistake_of_our_own_in_a_record_is_not_taken_for_the_sources():
    def broken(_: int) -> Iterator[Offer]:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError):
        list(parsed([1], broken, "source"))


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_that_are_not_utf8_are_named_and_the_rest_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    source = tmp_path / "in"
    (source / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
    (source / os.fsdecode(b"caf\xe9") / "1.jpg").write_bytes(photo(1))
    (source / os.fsdecode(b"\xe9.jpg")).write_bytes(photo(2))
    (source / "3.jpg").write_bytes(photo(3))
    for offered in (from_folder(source, "no_bear"), from_card(source, "no_bear", licence="")):
        counts = import_pictures(offered, tmp_path / "out")
        assert counts.by_kind["odd names"] == 2
    assert "is not UTF-8 text on one line; rename it" in caplog.text
    assert [row["file"] for row in rows(tmp_path / "out")] == ["no_bear/in/3.jpg"]
    assert len(rows(tmp_path / "out", "LEFT_OUT.csv")) == 2
    (source / os.fsdecode(b"caf\xe9")).rename(source / "café")
    counts = import_pictures(from_folder(source, "no_bear"), tmp_path / "out")
    assert counts.by_kind == {"new": 1, "already there": 1, "odd names": 1}
    assert {each.group for each in read_catalog(tmp_path / "out").pictures} == {"", "café"}


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_picture_sorted_under_a_name_that_is_not_utf8_is_named(tmp_path: Path):
    for n in range(2):
        (tmp_path / "card").mkdir(exist_ok=True)
        (tmp_path / f"card/{n}.jpg").write_bytes(photo(n))
    out = tmp_path / "out"
    import_pictures(from_card(tmp_path / "card", camera="c"), out)
    (out / "brown_bear").mkdir()
    odd = out / "brown_bear" / os.fsdecode(b"b\xe4r.jpg")
    (out / "unsorted/c/0.jpg").rename(odd)
    (out / "unsorted/c/1.jpg").rename(out / "brown_bear/1.jpg")
    done = sort_moved(out)
    assert (done.moved, done.gone, len(done.odd)) == ({"brown_bear": 1}, ("unsorted/c/0.jpg",), 1)
    odd.rename(out / "brown_bear/bär.jpg")
    assert sort_moved(out).moved == {"brown_bear": 1}


def test_a_file_that_cannot_be_read_does_not_stop_a_folder(tmp_path: Path):
    for n in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{n}.jpg").write_bytes(photo(n))

    def losing() -> Iterator[Offer]:
        offered = from_folder(tmp_path / "in", "no_bear")
        yield next(offered)
        (tmp_path / "in/1.jpg").unlink()
        yield from offered

    assert import_pictures(losing(), tmp_path / "out").by_kind == {"new": 2, "unreadable": 1}


def test_a_clip_that_was_cut_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for n in range(20):
        writer.write(picture(n, (320, 240)))
    writer.release()
    assert len(list(from_clip(path, "no_bear", every_s=0.1))) == 20
    assert len(list(from_clip(path, "no_bear", every_s=0.1, most=5))) == 5
    assert caplog.text == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = list(from_clip(path, "no_bear", every_s=0.1))
    assert 5 < len(found) < 15
    assert f"ends after {len(found)} of 20 frames; copy it again" in caplog.text
