"""Evidence that is imported again, elsewhere, otherwise or by halves; and the table that it comes into."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge.errors import OptionError
from tests.helpers.feedback_evidence import (
    contents,
    imported,
    review,
    samples,
    standing,
    table,
    walking,
    write_evidence,
)
from train.data.catalog import read_catalog
from train.data.feedback_pictures import key_of, part_of


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence that nobody has reviewed."""
    return write_evidence(tmp_path_factory.mktemp("evidence"), clips=False)


@pytest.fixture
def evidence(written: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    return shutil.copytree(written, tmp_path / "evidence")


def test_twice_is_once_wherever_the_evidence_was_copied(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "confirmed")
    review(standing(evidence), "wrong")
    review(samples(evidence)[0], "wrong")
    data = tmp_path / "data"
    imported(evidence, data)
    before = contents(data)
    card = shutil.copytree(evidence, tmp_path / "card" / "var" / "lib" / "evidence").parents[2]
    with zipfile.ZipFile(tmp_path / "night.zip", "w") as made:  # named as `events export` names them
        for path in sorted(path for path in evidence.rglob("*") if path.is_file()):
            day, folder = path.parts[-3], path.parts[-2]
            name = str(path.relative_to(evidence)) if "negatives" in path.parts else f"{day}-{folder}/{path.name}"
            made.write(path, f"evidence/{name}")
    with tarfile.open(tmp_path / "night.tar.gz", "w:gz") as tape:
        tape.add(evidence, "evidence")
    for place in (evidence, card, tmp_path / "night.zip", tmp_path / "night.tar.gz"):
        result = imported(place, data, site="called otherwise", zone=ZoneInfo("Asia/Tokyo"), most=2)
        assert (result.events, result.known, dict(result.pictures)) == (2, 3, {}), place
        assert contents(data) == before
    for place in (tmp_path / "night.zip", tmp_path / "night.tar.gz"):
        fresh = tmp_path / f"from {place.name}"
        imported(place, fresh)
        assert contents(fresh) == before


def test_what_is_reviewed_otherwise_since_is_replaced_and_nothing_is_lost(evidence: Path, tmp_path: Path) -> None:
    data, folder = tmp_path / "data", walking(evidence)
    review(folder, "confirmed")
    imported(evidence, data)
    pictures = contents(data / "feedback")
    review(folder, "wrong", at="2026-01-03T09:00:00.000Z")
    result = imported(evidence, data)
    assert (result.changed, result.pictures["no_bear"]) == (1, len(table(data)))
    assert {row.label for row in read_catalog(data).pictures} == {"no_bear"}
    assert pictures.items() <= contents(data / "feedback").items()
    review(folder, "unsure", at="2026-01-04T09:00:00.000Z")
    assert imported(evidence, data).taken_back == 1
    assert table(data) == []


def test_a_label_mended_by_hand_stays_while_the_review_is_the_same(evidence: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    review(walking(evidence), "confirmed")
    imported(evidence, data)
    path = data / "MANIFEST.csv"
    path.write_text(path.read_text().replace(",bear_any,", ",black_bear,"))
    assert imported(evidence, data).known == 1
    assert {row["label"] for row in table(data)} == {"black_bear"}


def test_a_label_that_is_forgotten_takes_no_row_out(evidence: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    review(walking(evidence), "relabelled", "fox")
    imported(evidence, data, names={"fox": "no_bear"})
    before = contents(data)
    result = imported(evidence, data)
    assert (result.known, result.taken_back, result.left_out) == (1, 0, [])
    assert "--label fox=no_bear; until then its rows in the table stay no_bear" in result.kept[0]
    review(walking(evidence), "relabelled", "stump", at="2026-01-03T09:00:00.000Z")  # and a new word
    assert "--label stump=no_bear" in imported(evidence, data).kept[0]
    assert contents(data) == before
    assert imported(evidence, data, names={"stump": "no_bear"}).changed == 1
    assert {row["note"].partition(";")[0] for row in table(data)} == {"stump"}


def test_a_random_frame_reviewed_to_show_a_bear_somewhere_is_no_negative_any_more(
    evidence: Path, tmp_path: Path
) -> None:
    review(samples(evidence)[0], "wrong")
    imported(evidence, tmp_path / "data")
    review(samples(evidence)[0], "confirmed", at="2026-01-03T09:00:00.000Z")
    result = imported(evidence, tmp_path / "data")
    assert result.taken_back == 1
    assert "review it again with --box" in result.left_out[0]
    assert table(tmp_path / "data") == []


@pytest.mark.parametrize(("label", "boxed"), [("brown_bear", True), ("no_bear", False)])
def test_where_the_evidence_is_worn_the_rows_get_the_new_label(
    evidence: Path, tmp_path: Path, label: str, boxed: bool
) -> None:
    data = tmp_path / "data"
    review(walking(evidence), "confirmed", note="big")
    imported(evidence, data)
    before = read_catalog(data).pictures
    pictures = contents(data / "feedback")
    assert any(row.boxes for row in before)
    for file in walking(evidence).glob("*.jpg"):
        file.write_bytes(file.read_bytes()[:200])
    review(walking(evidence), "relabelled", label, at="2026-01-03T09:00:00.000Z", note="looked again")
    assert imported(evidence, data, dry=True).relabelled == 1
    result = imported(evidence, data)
    assert (result.changed, result.relabelled, result.taken_back) == (1, 1, 0)
    after = read_catalog(data).pictures
    assert [(row.file, row.group, row.label) for row in after] == [(row.file, row.group, label) for row in before]
    assert [row.boxes for row in after] == [row.boxes if boxed else () for row in before]
    assert contents(data / "feedback") == pictures
    for one, other in zip(before, after, strict=True):
        assert part_of(one.note) == part_of(other.note)
        assert "said=looked again" in other.note
    assert imported(evidence, data).known == 1


def test_what_the_evidence_has_lost_stays_in_the_table(tmp_path: Path) -> None:
    evidence, data = write_evidence(tmp_path / "evidence"), tmp_path / "data"
    review(walking(evidence), "confirmed")
    imported(evidence, data)
    (walking(evidence) / "clip.mp4").unlink()  # cleared away, for it was large
    review(walking(evidence), "relabelled", "brown_bear", at="2026-01-03T09:00:00.000Z")
    assert imported(evidence, data).relabelled == 1
    assert [row.label for row in read_catalog(data).pictures] == ["brown_bear"] * 5


def test_days_are_the_cameras_own(evidence: Path, tmp_path: Path) -> None:
    review(walking(evidence), "wrong")
    for name, day in (("Asia/Tokyo", "2026-01-01"), ("America/Denver", "2025-12-31")):
        imported(evidence, tmp_path / day, zone=ZoneInfo(name))
        assert {row.group for row in read_catalog(tmp_path / day).pictures} == {f"yard/{day}"}


def test_what_was_broken_off_goes_on_where_it_stopped(
    evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review(walking(evidence), "confirmed")
    review(standing(evidence), "wrong")
    imported(evidence, tmp_path / "whole")
    from train.data import feedback as room
    from train.data.feedback_evidence import open_evidence

    def one(units):  # type: ignore[no-untyped-def]
        yield units[0]
        raise KeyboardInterrupt

    with open_evidence(evidence) as found, pytest.raises(KeyboardInterrupt):
        room.import_evidence(found, tmp_path / "data", room.ImportOptions(zone=ZoneInfo("UTC")), track=one)
    assert len({key_of(row["note"]) for row in table(tmp_path / "data")}) == 1
    result = imported(evidence, tmp_path / "data")
    assert result.known == 1
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")


def test_a_table_that_is_there_keeps_its_columns_and_rows(evidence: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(walking(evidence) / "full.jpg", data / f"{name}.jpg")
    (data / "MANIFEST.csv").write_text(
        "file,label,source_repo,group_id,mine,split\n"
        "a.jpg,brown_bear,r,g1,1,train\nb.jpg,no_bear,r,g2,2,tune\nc.jpg,no_bear,s,g3,3,test\n"
    )
    review(walking(evidence), "wrong")
    imported(evidence, data, site="apiary")
    found = read_catalog(data).pictures
    assert [(row["file"], row["mine"]) for row in table(data)[:3]] == [("a.jpg", "1"), ("b.jpg", "2"), ("c.jpg", "3")]
    new = [row for row in found if row.source == "apiary"]
    assert len(new) == len(found) - 3 > 0
    assert {row.split for row in new} == {"train"}  # since every picture of that table has a part


def test_folders_of_pictures_are_not_hidden_by_a_table(evidence: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "no_bear").mkdir(parents=True)
    shutil.copy(walking(evidence) / "full.jpg", tmp_path / "data" / "no_bear" / "a.jpg")
    review(walking(evidence), "wrong")
    for dry in (True, False):
        with pytest.raises(OptionError, match=r"no MANIFEST\.csv"):
            imported(evidence, tmp_path / "data", dry=dry)
    assert set(contents(tmp_path / "data")) == {"no_bear/a.jpg"}
