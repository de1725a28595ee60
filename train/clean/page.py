"""The page on which labels are decided: one HTML file with everything inside, opened from the disk or served."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2

from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE
from train.clean.embeddings import viewed
from train.clean.suspects import REASONS, Suspect
from train.data.decisions import Decision, as_row
from train.data.pictures import TRAINING_LABELS, Picture, name_inside

THUMB_PX = 288  # longer side of a thumbnail: some 12 kB, so that 300 of them make a page of 5 MB
QUALITY = 72
HERE = Path(__file__).parent


def page_rows(suspects: Sequence[Suspect], root: Path) -> list[dict[str, Any]]:
    """What the page shows of each picture, ready for JSON; the thumbnails are data URIs."""
    return [row for suspect in suspects if (row := _row(suspect, root))]


def page(rows: Sequence[dict[str, Any]], run: str, *, served: bool = False, decisions: Iterable[Decision] = ()) -> str:
    """The page's HTML. ``run`` names the run and its pictures: what a browser keeps is kept under that name."""
    data = {
        "rows": rows,
        "labels": TRAINING_LABELS,
        "reasons": REASONS,
        "by": run,
        "key": hashlib.sha256(run.encode()).hexdigest()[:16],
        "served": served,
        "decisions": [as_row(decision) for decision in decisions],
    }
    parts = {
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "script": "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("page_log.js", "page.js")),
        # A file may be called </script>.html: no "<" stands in the JSON as itself.
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    before, _, rest = (HERE / "page.html").read_text(encoding="utf-8").partition("{{style}}")
    middle, _, rest = rest.partition("{{data}}")
    last, _, after = rest.partition("{{script}}")
    return "".join([before, parts["style"], middle, parts["data"], last, parts["script"], after])


def thumbnail(file: Path) -> str:
    """A picture as a JPEG data URI, ``THUMB_PX`` on its longer side. Raises PictureError when it is broken."""
    image = read_picture(file)
    scale = THUMB_PX / max(image.shape[:2])
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype("uint8")
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _row(suspect: Suspect, root: Path) -> dict[str, Any] | None:
    picture = suspect.picture
    box = viewed(picture)
    try:
        return {
            "file": _name(picture, root),
            "sha256": suspect.sha256,
            "bytes": picture.file.stat().st_size,
            "label": picture.label,
            "suggested": suspect.suggested,
            "own": round(suspect.own, 4),
            "bear": round(suspect.bear, 4),
            "why": suspect.why,
            "source": picture.source,
            "thumb": thumbnail(picture.file),
            "box": None if box == WHOLE else box,
            "twin": suspect.twin
            and {
                "file": _name(suspect.twin, root),
                "label": suspect.twin.label,
                "thumb": thumbnail(suspect.twin.file),
            },
        }
    except (PictureError, OSError):  # gone since it was looked at
        return None


def _name(picture: Picture, root: Path) -> str:
    return name_inside(picture.file, root) or str(picture.file)
