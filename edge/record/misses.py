"""Bears that people saw and the alarm missed: a small file for each, ``misses/DAY/TIME-CAMERA-NUMBER.json``.

Evidence holds no picture of them, for nothing alarmed. They are kept to be counted, and are never deleted for room.
"""

from __future__ import annotations

import json
import logging
import random
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from edge.errors import OptionError
from edge.files import replace_whole
from edge.record.media_store import sample_path

log = logging.getLogger(__name__)

MISSES = "misses"
PLACE = re.compile(rf"(?:.*/)?{MISSES}/\d{{4}}-\d\d-\d\d/\d{{6}}-[\w.-]+-[0-9a-f]{{4}}\.json")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Miss:
    """A bear that raised no alarm, as a person reported it."""

    camera: str
    at: str  # when it was there: UTC, ISO 8601
    reported_at: str  # the same form
    by: str = ""
    note: str = ""


def write_miss(root: Path, miss: Miss) -> Path:
    """Write a miss into the evidence folder; return its file. Raises OptionError when that is not possible."""
    sample = sample_path(root, miss.camera, datetime.fromisoformat(miss.at), random.randrange(1 << 16))
    path = root / MISSES / sample.parent.name / f"{sample.stem}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{path.parent}: cannot be made ({error.strerror})") from None
    replace_whole(path, json.dumps({"schema_version": SCHEMA_VERSION} | asdict(miss), ensure_ascii=False).encode())
    return path


def read_misses(root: Path) -> list[Miss]:
    """Return all misses, the newest first; warn of a file that cannot be read, and skip it."""
    found = []
    for path in sorted(root.glob(f"{MISSES}/*/*.json")):
        if not PLACE.fullmatch(path.as_posix()):
            continue
        try:
            whole = json.loads(path.read_bytes())
            miss = Miss(**{each.name: str(whole[each.name]) for each in fields(Miss)})
            datetime.fromisoformat(miss.at)
            found.append(miss)
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s: no report of a miss this program can read (%s)", path, error)
    return sorted(found, key=lambda miss: miss.at, reverse=True)
