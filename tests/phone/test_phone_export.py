"""The zip of reviewed events that the web app makes, read by the real `feedback import`."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.record.clip import jpeg
from tests.helpers.command import bear_alarm
from tests.helpers.feedback_evidence import table
from tests.helpers.phone_web import bundle

pytestmark = pytest.mark.needs_tool("node")

ZIP = """
import { readFileSync, writeFileSync } from "node:fs";
import { zipOf } from "./src/export";
const records = JSON.parse(readFileSync(0, "utf8"));
const bytes = (text: string | null) => text === null ? null : Uint8Array.from(Buffer.from(text, "base64")).buffer;
for (const each of records) Object.assign(each, { full: bytes(each.full), crop: bytes(each.crop) });
writeFileSync(process.argv[2], Buffer.from(await (await zipOf(records)).arrayBuffer()));
"""
RANDOM = np.random.default_rng(5)
BOX = [0.25, 0.3, 0.3, 0.4]
START_MS = 1_767_237_127_000  # 2026-01-01T03:12:07Z


def picture(height: int, width: int) -> str:
    """A JPEG that is like no other, as base64."""
    return base64.b64encode(jpeg(RANDOM.integers(0, 255, (height, width, 3), np.uint8), 90)).decode()


def record(number: int, *reviews: tuple[str, str | None], camera: str = "yard", **more: Any) -> dict[str, Any]:
    """Record of one incident in the phone's journal."""
    id_ = f"{number:032x}"[::-1]
    began = START_MS + 3_600_000 * number

    def event(type_: str, seconds: int, score: float | None) -> dict[str, Any]:
        at = np.datetime64(began + 1000 * seconds, "ms")
        return {
            "kind": "bear", "type": type_, "id": id_, "seq": seconds + 1, "boot_id": "b" * 32, "camera": camera,
            "captured_at": f"{at}Z", "clock_synced": None, "track": 1, "label": "brown_bear", "score": score,
            "top_score": 0.91, "box_xywh": BOX, "media_time_s": None, "latency_ms": 40.0, "onset_s": 1.2,
            "durable": True, "model": "bear@0123456789ab", "evidence": None, "detail": None, "zones": ["hives"],
            "escalated": None, "file": None, "quiet": None, "schema_version": 1,
        }  # fmt: skip

    note = {
        "camera": camera, "captured_at": "2026-01-01T03:12:08.000Z", "media_time_s": None, "label": "brown_bear",
        "score": 0.88, "frame_wh": [640, 480], "box_xywh": BOX,
    }  # fmt: skip
    found = {
        "id": id_, "began": began, "events": [event("new", 0, 0.7), event("update", 4, 0.91), event("end", 30, None)],
        "reviews": [
            {"verdict": verdict, "at": f"2026-01-02T09:00:0{n}.000Z", "label": label}
            for n, (verdict, label) in enumerate(reviews)
        ],
        "full": picture(480, 640), "crop": picture(120, 120), "cropNote": note,
    }  # fmt: skip
    return found | more


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program for node that makes the zip of records."""
    return bundle(ZIP, tmp_path_factory.mktemp("node") / "zip.mjs", extra=["--platform=node"])


def zipped(exporter: Path, out: Path, *records: dict[str, Any]) -> Path:
    words = ["node", str(exporter), str(out)]
    done = subprocess.run(words, input=json.dumps(records), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def imported(zip_file: Path, data: Path) -> dict[str, Any]:
    """The result of `bear-alarm feedback import` for it."""
    words = ("--site", "apiary", "--label", "fox=no_bear", "--time-zone", "UTC", "--json")
    done = bear_alarm("feedback", "import", zip_file, "--into", data, *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_feedback_import_takes_it_with_labels_boxes_and_licence(exporter: Path, tmp_path: Path) -> None:
    records = (
        record(1, ("confirmed", None)),
        record(2, ("unsure", None), ("wrong", None), camera="Süd / 2"),
        record(3, ("relabelled", "fox")),
        record(4, ("relabelled", "teddy_bear")),
        record(5, ("unsure", None)),
    )
    found = imported(zipped(exporter, tmp_path / "events.zip", *records), tmp_path / "data")
    assert (found["events"], found["unsure"], found["left_out"]) == (5, 1, [])
    rows = table(tmp_path / "data")
    assert {row["licence"] for row in rows} == {"own"}
    assert {row["source"] for row in rows} == {"apiary"}
    by_event: dict[str, list[dict[str, str]]] = {each["id"]: [] for each in records}
    for row in rows:
        by_event[row["note"].partition("event=")[2].partition(";")[0]].append(row)
    bear, wrong, fox, toy, unsure = by_event.values()
    assert {row["label"] for row in bear} == {"bear_any"}
    assert {row["label"] for row in wrong} == {"no_bear"}
    assert {row["label"] for row in fox} == {"no_bear"}
    assert {row["label"] for row in toy} == {"teddy_bear"}
    assert unsure == []
    assert all("part=full;" in row["note"] or "part=crop;" in row["note"] for row in bear)
    assert [row["note"].partition(";")[0] for row in fox] == ["fox"] * len(fox)
    assert {row["group"] for row in wrong} == {"Süd / 2/2026-01-01"}
    assert {row["time"] for row in bear} == {"2026-01-01T04:12:07.000Z"}, "the alarm's, not the last message's"
    assert "review=wrong@2026-01-02T09:00:01.000Z" in wrong[0]["note"], "the last review holds"
    crops = [row for row in bear if "part=crop;" in row["note"]]
    assert "score=0.880" in crops[0]["note"], "of the note in the JPEG"
    [full] = [row["file"] for row in bear if "part=full;" in row["note"]]
    with (tmp_path / "data" / "boxes.csv").open(newline="") as opened:
        [box] = [row for row in csv.DictReader(opened) if row["file"] == full]
    x, y, w, h = BOX
    corners = [float(box[name]) for name in ("x1", "y1", "x2", "y2")]
    assert corners == pytest.approx([x, y, x + w, y + h])


def test_the_box_of_a_bear_is_that_of_the_alarm(exporter: Path, tmp_path: Path) -> None:
    from train.data.feedback_evidence import open_evidence, read_case

    each = record(1, ("confirmed", None))
    with open_evidence(zipped(exporter, tmp_path / "events.zip", each)) as evidence:
        [case] = [read_case(unit) for unit in evidence.units]
    assert case is not None
    assert case.path[0].at_s == 0.0
    assert list(case.path[0].box_xywh) == BOX
    assert [(step.at_s, step.bear) for step in case.path] == [(0.0, 0.7), (4.0, 0.91)]
    assert case.at.astimezone(UTC).isoformat() == "2026-01-01T04:12:07+00:00"
    assert case.review is not None
    assert case.review.verdict == "confirmed"


def test_it_may_be_imported_again_after_another_review(exporter: Path, tmp_path: Path) -> None:
    each = record(1, ("confirmed", None))
    data = tmp_path / "data"
    imported(zipped(exporter, tmp_path / "one.zip", each), data)
    assert imported(zipped(exporter, tmp_path / "one again.zip", each), data)["known"] == 1
    later = each | {
        "reviews": [*each["reviews"], {"verdict": "wrong", "at": "2026-01-03T09:00:00.000Z", "label": None}]
    }
    assert imported(zipped(exporter, tmp_path / "two.zip", later), data)["changed"] == 1
    assert {row["label"] for row in table(data)} == {"no_bear"}


def test_an_event_whose_pictures_are_gone_harms_no_other(exporter: Path, tmp_path: Path) -> None:
    gone = record(1, ("confirmed", None), full=None, crop=None, cropNote=None)
    unset = record(2, ("wrong", None), began=5000)  # a clock that was never set
    found = imported(zipped(exporter, tmp_path / "events.zip", gone, unset), tmp_path / "data")
    assert found["events"] == 2
    assert {row["note"].partition("event=")[2].partition(";")[0] for row in table(tmp_path / "data")} == {unset["id"]}
