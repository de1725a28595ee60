"""What a copy brings that the picture in the table lacks: a licence, a label, more pixels; and what must stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.far_side import jpeg, photo, picture
from tests.helpers.gather_world import found, keep, rows
from train.data.catalog import only_shippable, read_catalog
from train.data.split import split_catalog

pytest.importorskip("imagehash")
from train.data.gather.download import import_pictures
from train.data.gather.importer import PictureImporter, sort_moved
from train.data.gather.local import from_card, from_folder
from train.data.gather.offers import BETTER, DUPLICATE, LABELLED, NEW, OTHER_LABEL, THERE
from train.data.pictures import plain_label
from train.data.table import Table

WEB = found(1, licence="not stated", source="web search", author="")
COMMONS = found(2, source="Wikimedia Commons", group="A. Author", boxes=(("bear", (0.1, 0.1, 0.5, 0.5)),))


@pytest.mark.parametrize("same_run", [True, False])
def test_the_same_bytes_with_a_licence_that_ships_give_it_to_the_picture(tmp_path: Path, same_run: bool):
    first, second = (WEB, photo(1)), (COMMONS, photo(1))
    kinds = keep(tmp_path, first, second) if same_run else keep(tmp_path, first) + keep(tmp_path, second)
    assert kinds == [NEW, BETTER]
    [row] = rows(tmp_path)
    assert (row["source"], row["licence"], row["author"]) == ("Wikimedia Commons", "CC BY 4.0", "A. Author")
    assert len(only_shippable(read_catalog(tmp_path)).pictures) == 1
    assert [file.name for file in tmp_path.rglob("*.jpg")] == ["1.jpg"]  # no file moves, for they are the same
    assert keep(tmp_path, first, second) == [THERE, THERE]
    with Table(tmp_path) as table:
        assert not PictureImporter(table).wants(WEB)  # which gave way, and is not fetched again


def test_the_same_address_with_a_licence_that_ships_is_fetched_once_more(tmp_path: Path):
    commons = found(1, source="Wikimedia Commons")
    assert keep(tmp_path, (WEB, photo(1)), (commons, photo(1)), (WEB, photo(1))) == [NEW, BETTER, THERE]
    assert rows(tmp_path)[0]["licence"] == "CC BY 4.0"
    assert not (tmp_path / "LEFT_OUT.csv").exists()
    assert keep(tmp_path, (commons, photo(1))) == [THERE]


def test_the_same_bytes_without_a_better_licence_change_nothing(tmp_path: Path):
    keep(tmp_path, (COMMONS, photo(1)))
    before = (tmp_path / "MANIFEST.csv").read_bytes()
    assert keep(tmp_path, (WEB, photo(1)), (found(3, licence="CC0"), photo(1))) == [THERE, THERE]
    assert (tmp_path / "MANIFEST.csv").read_bytes() == before


@pytest.mark.parametrize("columns", [("source", "group"), ("source_repo", "group_id")])
@pytest.mark.parametrize("quality", [95, 60])  # the same bytes, and a near copy
def test_a_better_copy_does_not_cut_a_group_in_two(tmp_path: Path, columns: tuple[str, str], quality: int):
    lines, n = [f"file,label,{columns[0]},{columns[1]},split,licence"], 0
    for part in ("train", "tune", "test"):
        for label in ("brown_bear", "no_bear"):
            (tmp_path / f"{n}.jpg").write_bytes(photo(200 + n))
            lines.append(f"{n}.jpg,{label},s{part},g,{part},not stated")
            n += 1
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    day = {"source": "iNaturalist", "group": "joe/2024-05-01"}
    offers = (found(10, **day), photo(10)), (found(11, **day), jpeg(picture(204), quality))
    assert keep(tmp_path, *offers) == [NEW, BETTER]
    catalog = read_catalog(tmp_path)
    parts = {name: {each.unit for each in part} for name, part in split_catalog(catalog, 7).items()}
    assert parts == {"train": {"strain/g", "iNaturalist/joe/2024-05-01"}, "tune": {"stune/g"}, "test": {"stest/g"}}
    [better] = [each for each in catalog.pictures if each.source == "stest" and each.label == "brown_bear"]
    assert (better.licence, better.author, better.page) == ("CC BY 4.0", "A. Author", "https://example.org/11")


def test_labels_are_compared_by_what_they_mean(tmp_path: Path):
    names = {"a": ("bear", "bear"), "b": ("Grizzly Bear", "grizzly"), "c": ("empty", "no_bear")}
    for n, (name, (_, label)) in enumerate(names.items()):
        (tmp_path / f"in/{label}").mkdir(parents=True)
        for folder in ("in/" + label, "own"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{name}.jpg").write_bytes(photo(n))
    lines = [f"{name}.jpg,{label}" for name, (label, _) in names.items()]
    (tmp_path / "own/MANIFEST.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    assert import_pictures(from_folder(tmp_path / "in", plain_label), tmp_path / "own").by_kind == {THERE: 3}
    assert [row["label"] for row in rows(tmp_path / "own")] == ["bear", "Grizzly Bear", "empty"]
    assert keep(tmp_path / "own", (found(9, label="no_bear"), photo(0))) == [OTHER_LABEL]


def test_unsorted_is_no_label_so_that_the_one_given_now_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    for n in range(3):
        (tmp_path / "card").mkdir(exist_ok=True)
        (tmp_path / f"card/{n}.jpg").write_bytes(photo(n))
    out = tmp_path / "out"
    import_pictures(from_card(tmp_path / "card", camera="yard"), out)
    assert import_pictures(from_card(tmp_path / "card", "no_bear", camera="yard", note="empty"), out).by_kind == {
        LABELLED: 3
    }
    assert "3 unsorted pictures have a label now" in caplog.text
    found_there = {(each.label, each.note, each.source) for each in read_catalog(out).pictures}
    assert found_there == {("no_bear", "empty; trail camera", "yard")}
    lie = sorted(file.relative_to(out).as_posix() for file in out.rglob("*.jpg"))
    assert lie == [f"no_bear/yard/{n}.jpg" for n in range(3)]  # and none in unsorted/, which is what is left to do
    assert sort_moved(out).unsorted == 0
    assert import_pictures(from_card(tmp_path / "card", camera="yard"), out).by_kind == {
        THERE: 3
    }  # unsorted takes no label away


def test_a_near_copy_labels_an_unsorted_picture_too(tmp_path: Path):
    unsorted = found(1, label="unsorted")
    assert keep(tmp_path, (unsorted, photo(1)), (found(2), jpeg(picture(1), 40))) == [NEW, LABELLED]
    [row] = rows(tmp_path)
    assert (row["file"], row["label"]) == ("brown_bear/s/1.jpg", "brown_bear")
    assert (tmp_path / row["file"]).read_bytes() == photo(1)
    larger = jpeg(picture(3, (320, 240)))
    assert keep(tmp_path, (found(3, label="unsorted"), photo(3)), (found(4), larger)) == [NEW, BETTER]
    assert rows(tmp_path)[1]["label"] == "brown_bear"


def test_the_same_address_with_a_label_at_last(tmp_path: Path):
    keep(tmp_path, (found(1, label="unsorted"), photo(1)))
    assert keep(tmp_path, (found(1), photo(1)), (found(1), photo(1))) == [LABELLED, THERE]
    assert keep(tmp_path, (found(1, label="no_bear"), photo(1))) == [THERE]


def test_a_crash_before_the_table_is_written_loses_no_file(tmp_path: Path):
    keep(tmp_path, (found(1, label="unsorted"), photo(1)))
    before = (tmp_path / "MANIFEST.csv").read_bytes()
    with Table(tmp_path) as table:
        importer = PictureImporter(table)
        assert importer.take(found(2), photo(1)) == LABELLED
        assert (tmp_path / "MANIFEST.csv").read_bytes() == before  # as a power cut would leave it
        assert (tmp_path / rows(tmp_path)[0]["file"]).read_bytes() == photo(1)
        importer.write()
    assert (tmp_path / rows(tmp_path)[0]["file"]).read_bytes() == photo(1)
    assert len(list(tmp_path.rglob("*.jpg"))) == 1


def test_what_lies_here_and_is_skipped_stays_in_the_table_until_it_is_mended(tmp_path: Path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.jpg").write_bytes(photo(1))
    (source / "b.jpg").write_bytes(photo(2)[:2000])
    (source / "c.jpg").write_bytes(jpeg(picture(1), 40))
    for _ in range(2):  # looked at again, and written down once
        import_pictures(from_folder(source, "no_bear"), out)
        assert [(row["url"], row["kind"]) for row in rows(out, "LEFT_OUT.csv")] == [
            (str((source / "b.jpg").absolute()), "truncated"), (str((source / "c.jpg").absolute()), DUPLICATE),
        ]  # fmt: skip
    (source / "b.jpg").write_bytes(photo(2))
    assert import_pictures(from_folder(source, "no_bear"), out).by_kind == {NEW: 1, THERE: 1, DUPLICATE: 1}
    assert [row["kind"] for row in rows(out, "LEFT_OUT.csv")] == [DUPLICATE]
