"""A case and its looks as rows of the table: one group a camera and day, one source a site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import tzinfo

from edge.schema import BoxXYWH, utc_text
from train.catalog.licences import OWN
from train.catalog.picture import CAMERAS
from train.feedback.case import Case
from train.feedback.looks import Look
from train.feedback.verdict import Verdict

FOLDER = "feedback"  # in the folder of pictures: where these pictures lie
_KEY = re.compile(r"\b(event|negative)=[^;\s]+")
_PART = re.compile(r"\bpart=([^;\s]+)")
_SCORE = re.compile(r"\bscore=([^;\s]+)")
_REVIEW = re.compile(r"\breview=([^;\s]+)")

Row = dict[str, str]


def key_of(note: str) -> str | None:
    """``event=3f9c…`` of a row's note; None for a row that came from elsewhere."""
    found = _KEY.search(note)
    return found[0] if found else None


def review_of(note: str) -> str:
    """``confirmed@2026-…`` of a row's note; "" where it says none."""
    found = _REVIEW.search(note)
    return found[1] if found else ""


def part_of(note: str) -> str | None:
    """Which look a row is, by its note: ``crop``, ``full-cut`` … (``Look.part``); None for one from elsewhere."""
    found = _PART.search(note) if key_of(note) else None
    return found[1] if found else None


def is_cut(part: str) -> bool:
    """Return True if a look (``Look.part``) is a crop, not all that the camera saw."""
    return part == "crop" or part.endswith("-cut")


def day_of(case: Case, zone: tzinfo | None) -> str:
    """The local day of the alarm, 2026-11-28; ``zone`` None: this machine's."""
    return f"{case.at.astimezone(zone):%Y-%m-%d}"


def row_of(case: Case, look: Look, verdict: Verdict, *, site: str, zone: tzinfo | None, split: str) -> Row:
    """One row, its file named after case and look, so that the same picture has the same name each time."""
    day = day_of(case, zone)
    kind, _, key = case.key.partition("=")
    name = f"{case.at:%H%M%S}-{kind}-{_plain(key)[:16]}-{_plain(look.part)}.jpg"
    return {
        "file": "/".join((FOLDER, _plain(site), _plain(case.camera), day, name)),
        "label": verdict.label,
        "group": f"{case.camera}/{day}",
        "source": site,
        "licence": OWN,
        "time": utc_text(case.at),
        "note": _note(case, verdict, _plain(look.part), _told(look.score if look.score is not None else case.score)),
        "split": split,
        "condition": "" if is_cut(look.part) else CAMERAS[0],
    }


def boxes_of(look: Look) -> Sequence[tuple[str, BoxXYWH]]:
    """The bear's box, where the picture is a whole frame."""
    return [("bear", look.box_xywh)] if look.box_xywh is not None else []


def relabelled(row: Row, case: Case, verdict: Verdict) -> Row:
    """A row that is there, of this case, as another review has it: file, group and source stay."""
    score = _SCORE.search(row["note"])
    note = _note(case, verdict, part_of(row["note"]) or "", score[1] if score else _told(case.score))
    return row | {"label": verdict.label, "note": note}


def _note(case: Case, verdict: Verdict, part: str, score: str) -> str:
    facts = [
        verdict.named.replace("_", " "),
        case.key,
        f"part={part}",
        f"review={verdict.review}",
        f"told={_line(case.label) or 'nothing'}",
        f"score={score}",
        f"model={_line(case.model) or 'unknown'}",
    ]
    if case.clock_synced is False:
        facts.append("clock=not set")
    if case.review and case.review.by:
        facts.append(f"by={_line(case.review.by)}")
    if case.review and case.review.note:
        facts.append(f"said={_line(case.review.note)}")
    return "; ".join(facts)


def _told(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"


def _line(words: str) -> str:
    return " ".join(words.replace(";", ",").split())


def _plain(words: str) -> str:
    """As a part of a path: no longer than 60 bytes, for file systems end at 255."""
    return re.sub(r"[^\w.-]+", "_", words).encode()[:60].decode(errors="ignore").strip(".") or "_"
