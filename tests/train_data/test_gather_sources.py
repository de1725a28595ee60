"""iNaturalist, GBIF, Commons, a web search and camera-trap sets, asked as they answer."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import CatalogError, SourceError
from tests.helpers.far_side import FarSide
from train.data.licences import Licences

pytest.importorskip("httpx")
pytest.importorskip("pyinaturalist")
pytest.importorskip("pygbif")
from train.data.gather.download import web_client
from train.data.gather.local import from_set, read_set
from train.data.gather.online import from_commons, from_gbif, from_inaturalist, from_web, plain


@pytest.fixture
def far() -> Iterator[FarSide]:
    with FarSide() as side:
        yield side


def observation(number: int, codes: list[str | None], **more: Any) -> dict[str, Any]:
    """An observation as iNaturalist answers it, with a photograph of each licence."""
    values: dict[str, Any] = {
        "id": number, "quality_grade": "research", "uri": f"https://www.inaturalist.org/observations/{number}",
        "observed_on": "2024-05-01", "time_observed_at": "2024-05-01T03:12:07+02:00",
        "created_at": "2024-05-02T10:00:00+00:00", "obscured": False, "geoprivacy": None,
        "location": "50.0949,-104.7192", "annotations": [], "user": {"login": "observer", "name": None},
        "taxon": {"name": "Ursus arctos horribilis"},
        "photos": [
            {"id": number * 10 + n, "license_code": code, "url": f"https://far/photos/{number * 10 + n}/square.jpeg"}
            for n, code in enumerate(codes)
        ],
    }  # fmt: skip
    return values | more


def test_inaturalist(far: FarSide):
    far.observations = [
        observation(1, ["cc-by", "cc-by-nc"]),
        observation(2, ["cc0"], obscured=True),
        observation(3, ["cc-by"], annotations=[{"controlled_attribute_id": 22, "controlled_value_id": 25}]),
        observation(4, ["cc-by-sa"], annotations=[{"controlled_attribute_id": 22, "controlled_value_id": 24}]),
        observation(5, [None]),
    ]
    api = f"{far.base}/v1"
    found = list(from_inaturalist("Ursus arctos", "brown_bear", limit=200, place_id=7, since="2024-01-01", api=api))
    assert [each.name for each in found] == ["40", "20", "10"]  # the newest first; no scat, no NC, no rights reserved
    last = found[-1]
    assert last.url == "https://far/photos/10/large.jpeg"
    assert (last.licence, last.licence_url) == ("CC BY", "")
    assert (last.author, last.group, last.place) == ("observer", "observer/2024-05-01", "50.0949, -104.7192")
    assert last.taken_at == "2024-05-01T03:12:07+02:00"
    assert last.note == "Ursus arctos horribilis"
    assert found[1].place == ""  # obscured
    query = far.asked[0].query
    assert query["taxon_name"] == ["Ursus arctos"]
    assert query["quality_grade"] == ["research"]
    assert query["photo_license"] == ["CC0,CC-BY,CC-BY-SA"]
    assert (query["place_id"], query["d1"][0][:10]) == (["7"], "2024-01-01")
    assert "bear-alarm" in far.asked[0].agent
    assert [each.query.get("id_below") for each in far.asked] == [None, ["4"], ["2"], ["1"]]


def test_inaturalist_with_every_licence_and_a_limit(far: FarSide):
    far.observations = [observation(1, ["cc-by", "cc-by-nc", None])]
    kinds = {
        wanted: len(list(from_inaturalist("U", "bear_any", limit=9, licences=wanted, api=f"{far.base}/v1")))
        for wanted in Licences
    }
    assert kinds == {Licences.shippable: 1, Licences.stated: 2, Licences.any: 3}
    assert len(list(from_inaturalist("U", "bear_any", limit=2, licences=Licences.any, api=f"{far.base}/v1"))) == 2


def occurrence(number: int, licence: str, **more: Any) -> dict[str, Any]:
    """An occurrence as GBIF answers it."""
    values: dict[str, Any] = {
        "key": number, "datasetKey": "50c9509d", "datasetName": "Set", "basisOfRecord": "HUMAN_OBSERVATION",
        "recordedBy": "A. Observer", "eventDate": "2024-05-01T03:12", "license": "http://creativecommons.org/licenses/by-nc/4.0/legalcode",
        "decimalLatitude": 60.1, "decimalLongitude": 17.5, "species": "Ursus arctos",
        "media": [{
            "type": "StillImage", "identifier": f"https://far/{number}.jpg", "license": licence,
            "creator": "A. Photographer", "references": f"https://far/page/{number}",
        }],
    }  # fmt: skip
    return values | more


def test_gbif(far: FarSide):
    by = "http://creativecommons.org/licenses/by/4.0/"
    inat = "https://inaturalist-open-data.s3.amazonaws.com/photos/77/original.jpg"
    far.occurrences = [
        occurrence(1, by),
        occurrence(2, "http://creativecommons.org/licenses/by-nc/4.0/"),
        occurrence(3, by, basisOfRecord="MACHINE_OBSERVATION", locality="Camera 12"),
        occurrence(4, by, media=[{"type": "Sound", "identifier": "https://far/4.mp3", "license": by}]),
        occurrence(5, by, media=[{"type": "StillImage", "identifier": inat, "license": by}]),
    ]
    found = list(
        from_gbif("Ursus arctos", "brown_bear", limit=50, country="se", since="2020-01-01", api=f"{far.base}/v1/")
    )
    assert [each.page for each in found[:2]] == ["https://far/page/1", "https://far/page/3"]
    assert (found[0].source, found[0].group) == ("GBIF Set", "A. Observer/2024-05-01")
    assert (found[0].author, found[0].licence, found[0].place) == ("A. Photographer", "CC BY 4.0", "60.1, 17.5")
    assert (found[1].group, found[1].fixed_camera) == ("Camera 12", True)
    assert (found[2].url, found[2].key) == (inat.replace("original", "large"), "inaturalist.org/photos/77")
    query = far.asked[0].query
    assert query["scientificName"] == ["Ursus arctos"]
    assert query["basisOfRecord"] == ["HUMAN_OBSERVATION", "MACHINE_OBSERVATION"]
    assert (query["country"], query["eventDate"]) == (["SE"], ["2020-01-01,*"])
    assert query["mediaType"] == ["StillImage"]
    assert [each.query["offset"] for each in far.asked] == [["0"], ["2"], ["4"]]
    assert len(list(from_gbif("U", "bear_any", limit=1, api=f"{far.base}/v1/"))) == 1


def file_page(number: int, licence: str = "CC BY-SA 4.0", mime: str = "image/jpeg", **more: Any) -> dict[str, Any]:
    """A file's page as Commons answers it (formatversion 2)."""
    info: dict[str, Any] = {
        "url": f"https://far/{number}.jpg", "thumburl": f"https://far/1280px-{number}.jpg",
        "descriptionurl": f"https://far/wiki/File:{number}.jpg", "width": 4000, "height": 3000, "mime": mime,
        "user": "uploader",
        "extmetadata": {
            "LicenseShortName": {"value": licence, "source": "commons-desc-page"},
            "Artist": {"value": '<a href="//far/wiki/User:A" title="User:A">A. &amp; B.</a>'},
            "DateTimeOriginal": {"value": "2019-06-07 08:09:10"},
            "GPSLatitude": {"value": "60.5"}, "GPSLongitude": {"value": "17.25"},
        },
    }  # fmt: skip
    return {"pageid": number, "ns": 6, "title": f"File:Bear {number}.jpg", "index": number, "imageinfo": [info | more]}


def test_commons(far: FarSide):
    far.pages = [
        file_page(1),
        file_page(2, "CC BY-NC 4.0"),
        file_page(3, mime="image/gif"),
        file_page(4, width=800),
        file_page(5, "Public domain", extmetadata={"LicenseShortName": {"value": "Public domain"}}),
    ]
    far.answers["/w/api.php"] = [
        (429, {"Retry-After": "0"}, b""),
        (200, {}, b'{"error": {"code": "maxlag", "info": "busy"}}'),
    ]
    far.answers["/w/api.php"][1][1]["Retry-After"] = "0"
    with web_client() as client:
        found = list(from_commons("brown bear", "brown_bear", client, limit=9, api=f"{far.base}/w/api.php"))
    assert [each.url for each in found] == ["https://far/1280px-1.jpg", "https://far/4.jpg", "https://far/1280px-5.jpg"]
    first = found[0]
    assert (first.author, first.group, first.licence) == ("A. & B.", "A. & B.", "CC BY-SA 4.0")
    assert (first.taken_at, first.place) == ("2019-06-07T08:09:10", "60.5, 17.25")
    assert (found[2].author, found[2].place, found[2].taken_at) == ("uploader", "", "")
    assert far.asked[0].query["gsrsearch"] == ["filetype:bitmap brown bear"]
    assert "bear-alarm/" in far.asked[0].agent
    assert plain("<i>x</i>&nbsp;<b>y</b>") == "x y"


def test_services_that_do_not_answer_are_a_sentence(far: FarSide):
    for path in ("/v1/observations", "/v1/occurrence/search", "/w/api.php"):
        far.answers[path] = [(404, {}, b"<html>")] * 3
    with web_client() as client:
        for source in (
            from_inaturalist("U", "bear_any", limit=1, api=f"{far.base}/v1"),
            from_gbif("U", "bear_any", limit=1, api=f"{far.base}/v1/"),
            from_commons("U", "bear_any", client, limit=1, api=f"{far.base}/w/api.php"),
        ):
            with pytest.raises(SourceError, match=r"127\.0\.0\.1.*again"):
                next(source)


def test_web_search(monkeypatch: pytest.MonkeyPatch):
    answers = {
        1: [
            {"image": "https://a.example/x.jpg", "url": "https://a.example/page", "title": "t", "source": "Bing"},
            {"image": ""},
        ],
        2: [
            {"image": "https://a.example/x.jpg", "url": "https://a.example/page"},
            {"image": "https://b.example/y.png?s=1"},
        ],
    }
    search = "train.data.gather.online.ddgs_images"
    monkeypatch.setattr(search, lambda _, page: answers.get(page, []))
    found = list(from_web("bears", "bear_any", limit=10))
    assert [(each.url, each.group) for each in found] == [
        ("https://a.example/x.jpg", "a.example"), ("https://b.example/y.png?s=1", "b.example"),
    ]  # fmt: skip
    assert {each.licence for each in found} == {"not stated"}

    def refuses(_: str, page: int) -> list[dict[str, Any]]:
        if page > 1:
            raise SourceError("no more")
        return answers[1]

    monkeypatch.setattr(search, refuses)
    assert len(list(from_web("bears", "bear_any", limit=10))) == 1
    monkeypatch.setattr(search, lambda _, page: refuses(_, page + 1))
    with pytest.raises(SourceError):
        list(from_web("bears", "bear_any", limit=10))


def trap_set(root: Path) -> Path:
    """A COCO Camera Traps file: 3 places, bears, deer and nothing."""
    images: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []
    for n in range(30):
        images.append(
            {
                "id": f"i{n}",
                "file_name": f"p{n % 3}/{n}.jpg",
                "location": f"p{n % 3}",
                "datetime": "2020-01-01 00:00:00",
            }
        )
        seen.append({"id": f"a{n}", "image_id": f"i{n}", "category_id": n % 2 + (n == 29)})
    images[1] |= {"width": 200, "height": 100}
    seen[1]["bbox"] = [20, 10, 100, 50]
    seen[3]["bbox"] = [16, 12, 80, 60]
    seen.append({"id": "more", "image_id": "i1", "category_id": 2, "bbox": [0, 0, 10, 10]})
    images[5]["corrupt"] = True
    names = ["empty", "American Black Bear", "deer"]
    path = root / "traps.json"
    path.write_text(json.dumps({
        "info": {"version": "1"}, "images": images, "annotations": seen,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
    }))  # fmt: skip
    return path


def test_camera_trap_sets(tmp_path: Path):
    traps = read_set(trap_set(tmp_path))
    assert traps.counts() == {"empty": 15, "american black bear": 14, "deer": 2}
    labels = {"american black bear": "black_bear", "deer": "no_bear", "empty": "no_bear"}
    found = list(from_set(traps, labels, limit=12, base_url="https://far/set/"))
    assert Counter(each.label for each in found) == {"black_bear": 6, "no_bear": 6}
    assert max(Counter(each.group for each in found).values()) == 4  # places take turns
    assert found == list(from_set(traps, labels, limit=12, base_url="https://far/set/"))
    assert all(each.url == f"https://far/set/{each.name}.jpg" for each in found)
    every = {each.name: each for each in from_set(traps, labels, limit=99, images=tmp_path)}
    assert "p2/5" not in every  # corrupt
    one, three = every["p1/1"], every["p0/3"]
    assert one.label == "black_bear"  # though a deer is on it too
    assert one.boxes == (("american black bear", (0.1, 0.1, 0.5, 0.5)),)
    assert three.boxes_px == (("american black bear", (16, 12, 80, 60)),)
    assert (one.file, one.group, one.taken_at) == (tmp_path / "p1/1.jpg", "p1", "2020-01-01T00:00:00")


def test_a_set_may_be_zipped_and_what_is_none_is_a_sentence(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "traps.json.zip", "w") as packed:
        packed.write(trap_set(tmp_path), "traps.json")
    assert len(read_set(tmp_path / "traps.json.zip").images) == 30
    (tmp_path / "bad.json").write_text('{"images": []}')
    with pytest.raises(CatalogError, match="not COCO Camera Traps JSON"):
        read_set(tmp_path / "bad.json")
    with pytest.raises(CatalogError, match="no such file"):
        read_set(tmp_path / "none.json")


def test_a_set_does_not_lead_out_of_its_folder(tmp_path: Path):
    path = trap_set(tmp_path)
    path.write_text(path.read_text().replace("p0/0.jpg", "../../secret.jpg"))
    with pytest.raises(CatalogError, match="leads out"):
        list(from_set(read_set(path), {"empty": "no_bear"}, limit=99, images=tmp_path))
