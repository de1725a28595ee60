"""The table of pictures and its split: what is read, what is refused, what is never on two sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import BearAlarmError, CatalogError
from train.data.catalog import read_catalog
from train.data.pictures import SPLITS, Catalog, Picture, check_trainable, is_bear, parse_labels
from train.data.split import name_of, read_split, split_catalog, write_split


def put(path: Path, seed: int = 0) -> Path:
    """A small picture at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8))
    return path


def manifest(folder: Path, rows: list[str], header: str = "file,label,source_repo,group_id,licence") -> Path:
    """A manifest with these rows."""
    path = folder / "MANIFEST.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def sources(count: int, groups: bool = False) -> Catalog:
    """A catalogue with bears and others in ``count`` sources (or in as many groups of one source)."""
    pictures = [
        Picture(Path(f"/none/{n}-{k}.jpg"), label, "one" if groups else f"s{n}", f"g{n}" if groups else "")
        for n in range(count)
        for k, label in enumerate(["brown_bear", "no_bear", "no_bear"])
    ]
    return Catalog(Path("/none"), tuple(pictures))


def test_folder_per_label(tmp_path: Path) -> None:
    for n, name in enumerate(["grizzly/cam1/a.jpg", "bear/b.jpg", "no_bear/c.jpg", "panda/d.png"]):
        put(tmp_path / name, n)
    found = {p.file.name: p for p in read_catalog(tmp_path).pictures}
    assert {name: p.label for name, p in found.items()} == {
        "a.jpg": "brown_bear", "b.jpg": "bear_any", "c.jpg": "no_bear", "d.png": "no_bear",
    }  # fmt: skip
    assert found["a.jpg"].group == "cam1"
    assert is_bear("bear_any")
    assert not is_bear("teddy_bear")


def test_manifest_with_boxes(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    table = manifest(tmp_path, ["a.jpg,bear_any,repo,cam,MIT"])
    (tmp_path / "boxes.csv").write_text("file,class,x1,y1,x2,y2\na.jpg,bear,0.1,0.2,0.5,0.6\n")
    for path in (table, tmp_path):
        [picture] = read_catalog(path).pictures
        assert picture.boxes[0] == pytest.approx((0.1, 0.2, 0.4, 0.4))
        assert (picture.source, picture.group, picture.licence) == ("repo", "cam", "MIT")


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["a.jpg,x"], "file,kind", "'label' is missing"),
        (["gone.jpg,no_bear"], "file,label", "'gone.jpg' does not exist"),
        (["a.jpg,dragon"], "file,label", "unknown label 'dragon'"),
        ([], "file,label", "no pictures with a label"),
    ],
)
def test_bad_manifests(tmp_path: Path, rows: list[str], header: str, words: str) -> None:
    put(tmp_path / "a.jpg")
    with pytest.raises(CatalogError, match=words):
        read_catalog(manifest(tmp_path, rows, header))


def test_pictures_that_lie_beside_each_other_are_counted(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(tmp_path / name)
    with pytest.raises(CatalogError, match="no pictures with a label, but 2 without one; sort them"):
        read_catalog(tmp_path)


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no pictures with a label"):
        read_catalog(tmp_path)
    with pytest.raises(CatalogError, match="no such folder"):
        read_catalog(tmp_path / "nowhere")


def test_a_label_with_one_picture_is_refused(tmp_path: Path) -> None:
    for name in ("bear/a.jpg", "no_bear/b.jpg", "no_bear/c.jpg"):
        put(tmp_path / name)
    with pytest.raises(CatalogError, match="'bear' has one picture"):
        check_trainable(read_catalog(tmp_path))


def test_names_can_be_explained(tmp_path: Path) -> None:
    put(tmp_path / "Dog/a.jpg")
    assert parse_labels(["Red Dog=no_bear", "ours=bear"]) == {"red_dog": "no_bear", "ours": "bear_any"}
    assert read_catalog(tmp_path, parse_labels(["dog=no_bear"])).pictures[0].label == "no_bear"
    with pytest.raises(BearAlarmError, match="NAME=LABEL"):
        parse_labels(["dog"])


@pytest.mark.parametrize("groups", [False, True])
def test_split_never_cuts_a_source_or_group(groups: bool) -> None:
    catalog = sources(9, groups)
    split = split_catalog(catalog, seed=3)
    where = {name: {p.unit for p in split[name]} for name in SPLITS}
    assert not where["train"] & where["tune"]
    assert not where["train"] & where["test"]
    assert not where["tune"] & where["test"]
    assert sum(len(part) for part in split.values()) == len(catalog.pictures)
    assert all({is_bear(p.label) for p in part} == {True, False} for part in split.values())
    assert split == split_catalog(catalog, seed=3)


def test_named_sources_go_into_the_named_part() -> None:
    split = split_catalog(sources(9), 0, tune=["s1"], test=["s2", "s3"])
    assert {p.source for p in split["tune"]} == {"s1"}
    assert {p.source for p in split["test"]} == {"s2", "s3"}
    with pytest.raises(CatalogError, match="no source is called 's99'"):
        split_catalog(sources(9), 0, test=["s99"])


def test_one_source_without_groups_cannot_be_split() -> None:
    catalog = Catalog(
        Path("/none"),
        tuple(Picture(Path(f"/none/{n}"), label, "one", "") for n, label in enumerate(["brown_bear", "no_bear"] * 5)),
    )
    with pytest.raises(CatalogError, match="cannot be split"):
        split_catalog(catalog, 0)


def test_split_survives_writing(tmp_path: Path) -> None:
    for n in range(9):
        put(tmp_path / f"brown_bear/{n}/a.jpg", n)
        put(tmp_path / f"no_bear/{n}/b.jpg", n)
    catalog = read_catalog(tmp_path)
    split = split_catalog(catalog, 1)
    digest = write_split(split, catalog.root, tmp_path / "split.csv")
    assert write_split(split, catalog.root, tmp_path / "again.csv") == digest
    again = read_split(catalog, tmp_path / "split.csv")
    assert {name: set(part) for name, part in again.items()} == {name: set(part) for name, part in split.items()}


@pytest.mark.parametrize("cameras", [3, 4, 5])
def test_three_cameras_are_enough(cameras: int) -> None:
    split = split_catalog(sources(cameras, groups=True), seed=1)
    assert all({is_bear(p.label) for p in part} == {True, False} for part in split.values())


@pytest.mark.parametrize("seed", range(5))
def test_places_without_bears_do_not_take_their_turn(seed: int) -> None:
    catalog = sources(3, groups=True)
    empty = [Picture(Path(f"/none/e{n}-{k}.jpg"), "no_bear", "one", f"empty{n}") for n in range(4) for k in range(2)]
    split = split_catalog(replace(catalog, pictures=(*catalog.pictures, *empty)), seed)
    assert all({is_bear(p.label) for p in part} == {True, False} for part in split.values())


def test_a_file_listed_twice_and_pixel_boxes_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    with pytest.raises(CatalogError, match="is in the table twice"):
        read_catalog(manifest(tmp_path, ["a.jpg,no_bear,one,,", "./a.jpg,no_bear,two,,"]))
    table = manifest(tmp_path, ["a.jpg,bear_any,one,,"])
    (tmp_path / "boxes.csv").write_text("file,class,x1,y1,x2,y2\na.jpg,bear,10,20,50,60\n")
    with pytest.raises(CatalogError, match="fractions 0 to 1"):
        read_catalog(table)


def test_missing_files_of_a_table_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    table = manifest(tmp_path, ["a.jpg,no_bear,,,", "b.jpg,no_bear,,,", "c.jpg,no_bear,,,"])
    with pytest.raises(CatalogError, match=r"line 3: file 'b\.jpg' \(and 1 more of 3\) does not exist"):
        read_catalog(table)


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    put(tmp_path / "no_bear/cam/a.jpg")
    for name in ("no_bear/cam/._a.jpg", "no_bear/.thumbnails/a.jpg"):
        put(tmp_path / "x.jpg").rename(put(tmp_path / name))
    assert [picture.file.name for picture in read_catalog(tmp_path).pictures] == ["a.jpg"]


def test_the_source_has_the_folders_name_from_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "orchard/no_bear/a.jpg")
    monkeypatch.chdir(tmp_path / "orchard")
    here, there = read_catalog("."), read_catalog(tmp_path / "orchard")
    assert [picture.source for picture in (*here.pictures, *there.pictures)] == ["orchard", "orchard"]
    assert here.digest == there.digest
    assert read_catalog(".", called="yard").pictures[0].source == "yard"


def test_absolute_names_in_a_table_are_the_same_from_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "pictures/sub/a.jpg")
    table = manifest(tmp_path / "pictures", [f"{tmp_path / 'pictures/sub/a.jpg'},no_bear,one,,"])
    monkeypatch.chdir(tmp_path)
    near, far = read_catalog("pictures/MANIFEST.csv"), read_catalog(table)
    assert near.digest == far.digest
    names = [name_of(catalog.pictures[0], catalog.root) for catalog in (near, far)]
    assert names == ["sub/a.jpg", "sub/a.jpg"]


def test_a_split_column_that_is_not_used_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    catalog = sources(9)
    pictures = tuple(replace(p, split="train" if n % 2 else "test") for n, p in enumerate(catalog.pictures))
    split_catalog(replace(catalog, pictures=pictures), 0)
    assert "no part 'tune' and is not used" in caplog.text


@pytest.mark.parametrize("named", ["tune", "test"])
def test_the_part_that_is_not_named_is_carved_out_of_the_rest(named: str) -> None:
    split = split_catalog(sources(9), 0, tune=["s1"] if named == "tune" else (), test=["s1"] if named == "test" else ())
    assert {p.source for p in split[named]} == {"s1"}
    assert all({is_bear(p.label) for p in part} == {True, False} for part in split.values())
    assert sum(len(part) for part in split.values()) == 27


@pytest.mark.parametrize(
    ("data", "words"), [(b"file,part\na,b\n", "column 'split' is missing"), (b"\xff\xfe\x00", "cannot be read")]
)
def test_a_file_that_is_no_split_is_a_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "split.csv").write_bytes(data)
    with pytest.raises(CatalogError, match=words):
        read_split(sources(3), tmp_path / "split.csv")


@pytest.mark.parametrize(
    "corners", ["0.5,0.2,0.1,0.6", "0.1,0.6,0.5,0.2", "nan,0.2,0.5,0.6", "0.1,0.2,0.1,0.6", "-3,0.2,0.5,0.6", "a,b,c,d"]
)
def test_boxes_that_are_none_are_refused(tmp_path: Path, corners: str) -> None:
    put(tmp_path / "a.jpg")
    table = manifest(tmp_path, ["a.jpg,bear_any,one,,"])
    (tmp_path / "boxes.csv").write_text(f"file,class,x1,y1,x2,y2\na.jpg,bear,{corners}\n")
    with pytest.raises(CatalogError, match=r"line 2: expected .* x1 < x2 and y1 < y2"):
        read_catalog(table)


def test_spreadsheets_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    table = manifest(tmp_path, ["a.jpg,no_bear,one,,"])
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(read_catalog(table).pictures) == 1


@pytest.mark.parametrize("pair", [("train", "tune"), ("train", "test"), ("tune", "test")])
def test_a_split_column_that_cuts_a_group_is_refused_whichever_parts(pair: tuple[str, str]) -> None:
    parts = dict.fromkeys(range(5), "train") | {3: "tune", 4: "test"}
    whole = sources(5)
    split = [replace(picture, split=parts[int(picture.source[1:])]) for picture in whole.pictures]
    assert set(split_catalog(replace(whole, pictures=tuple(split)), 7)) == set(SPLITS)
    at = next(n for n, picture in enumerate(split) if picture.split == pair[0])
    split[at] = replace(split[at], split=pair[1])
    with pytest.raises(CatalogError, match=f"cuts '{split[at].source}' in two"):
        split_catalog(replace(whole, pictures=tuple(split)), 7)


def test_pictures_in_no_cameras_folder_are_reported_to_flatter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(12):
        put(tmp_path / f"flat/brown_bear/{n}.jpg", n)
        put(tmp_path / f"flat/no_bear/{n}.jpg", 100 + n)
        put(tmp_path / f"cameras/brown_bear/c{n % 4}/{n}.jpg", n)
        put(tmp_path / f"cameras/no_bear/c{n % 4}/{n}.jpg", 100 + n)
    split_catalog(read_catalog(tmp_path / "cameras"), 7)
    assert "one by one" not in caplog.text
    split_catalog(read_catalog(tmp_path / "flat"), 7)
    assert "24 of 24 pictures are in no camera's folder and are split one by one" in caplog.text


def test_a_tables_address_counts_against_its_words(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    row = "a.jpg,no_bear,CC BY 4.0,https://creativecommons.org/licenses/by-nc/4.0/"
    manifest(tmp_path, [row], "file,label,licence,licence_url")
    assert read_catalog(tmp_path).pictures[0].licence == "CC BY-NC 4.0"
