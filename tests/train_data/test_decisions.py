"""Decisions about labels: they only grow in number, belong to the picture, survive a torn line and a second writer."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import CatalogError, OptionError
from train.data.catalog import read_catalog
from train.data.decisions import (
    COLUMNS,
    DELETE,
    KEEP,
    RELABEL,
    TABLE,
    Decision,
    append_decisions,
    decide,
    decided,
    live,
    match,
    read_decisions,
    take_back,
)
from train.data.pictures import Picture

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three cameras' pictures; nobody decodes them here, so any bytes will do."""
    for label in ("brown_bear", "no_bear"):
        for n in range(4):
            file = tmp_path / "pictures" / label / f"camera{n % 3}" / f"{n}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{label} {n}".encode())
    return tmp_path / "pictures"


def named(root: Path, name: str) -> Picture:
    """The picture of that name."""
    return next(picture for picture in read_catalog(root).pictures if picture.file == root / name)


def labels(root: Path) -> dict[str, str]:
    """The label of each picture as the catalogue now has it."""
    return {picture.file.relative_to(root).as_posix(): picture.label for picture in read_catalog(root).pictures}


def test_decisions_are_in_the_catalogue_and_no_file_is_touched(root: Path) -> None:
    before, digest = labels(root), read_catalog(root).digest
    files = {file: file.read_bytes() for file in root.rglob("*.jpg")}
    inside, none, fine = "no_bear/camera0/0.jpg", "brown_bear/camera1/1.jpg", "no_bear/camera2/2.jpg"
    rows = [
        decide(named(root, inside), root, RELABEL, "black_bear", by="a run"),
        decide(named(root, none), root, DELETE),
        decide(named(root, fine), root, KEEP),
    ]
    assert append_decisions(root, rows) == rows
    assert labels(root) == {name: label for name, label in before.items() if name != none} | {inside: "black_bear"}
    assert read_catalog(root).digest != digest
    assert named(root, inside).named == "black_bear"
    append_decisions(root, [take_back(row) for row in live(read_decisions(root))])
    assert labels(root) == before
    assert read_catalog(root).digest == digest
    assert len(read_decisions(root)) == 6, "undo adds rows, it removes none"
    assert {file: file.read_bytes() for file in root.rglob("*.jpg")} == files


def test_a_bear_that_is_none_loses_its_boxes(root: Path) -> None:
    picture = replace(named(root, "brown_bear/camera0/0.jpg"), boxes=((0.1, 0.1, 0.5, 0.5),))
    append_decisions(root, [decide(picture, root, RELABEL, "black_bear")])
    assert decided([picture], root)[0].boxes == picture.boxes
    append_decisions(root, [decide(picture, root, RELABEL, "teddy_bear")])
    assert decided([picture], root)[0].boxes == ()


def test_a_decision_belongs_to_the_picture_and_not_to_its_name(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = "no_bear/camera0/0.jpg", "no_bear/camera1/1.jpg"
    append_decisions(root, [decide(named(root, name), root, RELABEL, "brown_bear") for name in (first, second)])
    (root / first).rename(root / "no_bear/camera0/new name, with a comma.jpg")
    (root / second).write_bytes(b"another bear")
    (root / first).write_bytes(b"another one")
    with caplog.at_level(logging.WARNING, "train"):
        now = labels(root)
    assert now["no_bear/camera0/new name, with a comma.jpg"] == "brown_bear"
    assert now[first] == now[second] == "no_bear"
    [warning] = caplog.messages
    assert "1 of 2 decisions are skipped: their pictures are gone, changed or relabelled" in warning


def test_of_two_copies_the_one_that_was_decided_is_meant(root: Path) -> None:
    one, copy, other = "no_bear/camera0/0.jpg", "no_bear/camera0/copy.jpg", "brown_bear/camera0/copy.jpg"
    for name in (copy, other):
        (root / name).write_bytes((root / one).read_bytes())
    append_decisions(root, [decide(named(root, copy), root, DELETE)])
    assert set(labels(root)) >= {one, other}
    assert copy not in labels(root)
    append_decisions(root, [decide(named(root, one), root, KEEP), decide(named(root, other), root, DELETE)])
    assert one in labels(root)
    assert other not in labels(root)


def test_a_picture_decided_twice_is_as_it_was_decided_last(root: Path) -> None:
    name = "no_bear/camera0/0.jpg"
    for label in ("brown_bear", "black_bear"):
        append_decisions(root, [decide(named(root, name), root, RELABEL, label)])
    assert labels(root)[name] == "black_bear"
    [holds] = live(read_decisions(root))
    assert (holds.before, holds.after) == ("no_bear", "black_bear")
    append_decisions(root, [take_back(holds)])
    assert labels(root)[name] == "brown_bear"


def test_who_moved_the_file_since_has_the_last_word(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    append_decisions(root, [decide(named(root, "no_bear/camera0/0.jpg"), root, DELETE)])
    (root / "no_bear/camera0/0.jpg").rename(root / "brown_bear/camera0/moved.jpg")
    assert labels(root)["brown_bear/camera0/moved.jpg"] == "brown_bear"
    assert "relabelled since" in caplog.text


def test_the_same_rows_again_add_nothing(root: Path) -> None:
    rows = [decide(named(root, "no_bear/camera0/0.jpg"), root, KEEP)]
    append_decisions(root, rows)
    table = (root / TABLE).read_bytes()
    assert append_decisions(root, rows) == []
    assert (root / TABLE).read_bytes() == table


def test_every_torn_tail_loses_the_unfinished_row_alone(root: Path) -> None:
    rows = [decide(named(root, f"no_bear/camera{n}/{n}.jpg"), root, KEEP, by='a, "run"') for n in range(3)]
    append_decisions(root, rows[:2])
    whole = (root / TABLE).read_bytes()
    append_decisions(root, rows[2:])
    full = (root / TABLE).read_bytes()
    for end in range(len(full) + 1):
        (root / TABLE).write_bytes(full[:end])
        known = read_decisions(root)
        assert [row.key for row in known] == [row.key for row in rows][: len(known)]
        if end >= len(whole):
            assert known[:2] == rows[:2]
        append_decisions(root, rows)
        assert {row.key for row in read_decisions(root)} == {row.key for row in rows}, f"torn after {end} bytes"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.jpg,no_bear\n", "column 'time' is missing"),
        (",".join(COLUMNS) + "\nonly,three,fields\nx\n", "line 2: 3 fields and not 8"),
        (",".join(COLUMNS) + f"\nt,a.jpg,{'0' * 64},5,forget,no_bear,,\n", "line 2: decision 'forget' is none of keep"),
        (",".join(COLUMNS) + f"\nt,a.jpg,{'0' * 64},5,relabel,no_bear,cat,\n", "line 2: label 'cat' is none of"),
        (",".join(COLUMNS) + "\nt,a.jpg,abc,5,keep,no_bear,no_bear,\n", "line 2: sha256 'abc' is no digest"),
        (",".join(COLUMNS) + f"\nt,a.jpg,{'0' * 64},many,keep,no_bear,no_bear,\n", "line 2: invalid literal"),
        (b"\xff\xfe\x00".decode("latin-1") + "\n", "line 1|column"),
    ],
)
def test_a_damaged_table_is_a_sentence_and_stays_as_it_is(root: Path, text: str, words: str) -> None:
    (root / TABLE).write_text(text, encoding="latin-1")
    row = decide(next(iter(_pictures(root))), root, KEEP)
    with pytest.raises(CatalogError, match=words):
        read_catalog(root)
    with pytest.raises(CatalogError, match=words):
        append_decisions(root, [row])
    assert (root / TABLE).read_text(encoding="latin-1") == text


def _pictures(root: Path) -> list[Picture]:
    return [Picture(file, file.parts[-3], "here", "") for file in sorted(root.rglob("*.jpg"))]


def test_a_folder_that_cannot_be_written_to_is_a_sentence(root: Path) -> None:
    row = decide(named(root, "no_bear/camera0/0.jpg"), root, KEEP)
    (root / TABLE).mkdir()
    with pytest.raises(OptionError, match="cannot be written"):
        append_decisions(root, [row])


WRITER = """
import sys
from pathlib import Path
from train.data.decisions import append_decisions, decide
from train.data.pictures import Picture
root, who = Path(sys.argv[1]), sys.argv[2]
picture = Picture(root / "no_bear/camera0/0.jpg", "no_bear", "here", "")
for _ in range(40):
    append_decisions(root, [decide(picture, root, "keep", by=who)])
"""


def test_two_writers_at_once_lose_nothing(root: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(root), who]) for who in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    rows = read_decisions(root)
    assert sorted(row.by for row in rows) == ["one"] * 40 + ["two"] * 40


KEYS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(st.tuples(KEYS, st.sampled_from([KEEP, DELETE, "undo"])), max_size=30)


@given(STEPS)
def test_undo_is_the_inverse_of_the_last_decision_about_a_picture(steps: list[tuple[str, str]]) -> None:
    rows = [
        Decision(str(n), name, "0" * 64, 1, kind, "no_bear", "no_bear" if kind == KEEP else "")
        for n, (name, kind) in enumerate(steps)
    ]
    held = live(rows)
    assert len({row.key for row in held}) == len(held)
    assert [row.time for row in held] == [row.time for row in sorted(held, key=lambda row: int(row.time))]
    extra = Decision("x", "a", "0" * 64, 1, KEEP, "no_bear", "no_bear")
    assert {(r.key, r.decision) for r in live([*rows, extra, take_back(extra)])} == {(r.key, r.decision) for r in held}
    for name in "abc":
        stack: list[str] = []
        for own, kind in steps:
            if own == name and kind == "undo":
                stack = stack[:-1]
            elif own == name:
                stack.append(kind)
        assert [row.decision for row in held if row.file == name] == stack[-1:]


def test_only_files_of_a_decided_size_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = decide(named(root, "no_bear/camera0/0.jpg"), root, KEEP)
    (root / "no_bear/camera0/huge.jpg").write_bytes(b"x" * 1000)
    pictures = _pictures(root)
    read: list[str] = []
    from train.data import decisions

    plain = decisions.digest_of
    monkeypatch.setattr(decisions, "digest_of", lambda file: read.append(file.name) or plain(file))  # type: ignore[func-returns-value]
    found, gone = match(pictures, root, [row])
    assert [picture.file.name for picture in found] == ["0.jpg"]
    assert not gone
    assert "huge.jpg" not in read


def test_where_the_disk_is_full_nothing_is_decided(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [decide(named(root, f"no_bear/camera{n}/{n}.jpg"), root, DELETE) for n in range(3)]
    append_decisions(root, rows[:1])
    before = (root / TABLE).read_bytes()
    (root / TABLE).write_bytes(before + b"2026-11-28T08")  # and a line that the power cut short

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OptionError, match=r"No space left on device.*nothing was decided"):
            append_decisions(root, rows[1:])
    assert (root / TABLE).read_bytes() == before
    assert append_decisions(root, rows) == rows[1:]
    assert read_decisions(root) == rows


def test_of_many_rows_none_holds_where_the_disk_has_room_for_some(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    code = """
import resource, sys
from pathlib import Path
from train.data.decisions import Decision, append_decisions, now
rows = [Decision(now(), f"{n}.jpg", "0" * 64, 5, "delete", "no_bear", "", "run") for n in range(200)]
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
append_decisions(Path(sys.argv[1]), rows[:1])
try: append_decisions(Path(sys.argv[1]), rows)
except Exception as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "nothing was decided" in done.stdout
    assert [row.file for row in read_decisions(tmp_path)] == ["0.jpg"]
