"""Runs a fleet until its standard input ends: ``fleet_child.py URL FOLDER``.

Each event whose first copy came in an answer to replay is a line in ``FOLDER/replayed``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.mqtt_settings import settings_from_url
from edge.fleet.fleet import Fleet
from edge.fleet.store import FleetWriter
from edge.schema import Event

url, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(exist_ok=True)
replayed = (folder / "replayed").open("a", buffering=1)
put, put_answer = FleetWriter.put, Fleet._put_answer


def put_and_note(writer: FleetWriter, device: str, event: Event, now: float) -> bool:
    """Write an event of an answer, and a line if it is new."""
    added = put(writer, device, event, now)
    if added:
        print(device, event.boot_id, event.seq, file=replayed)
    return added


def put_answer_and_note(fleet: Fleet, *values: Any) -> Any:
    """Write an answer; all in the one thread that writes."""
    with patch.object(FleetWriter, "put", put_and_note):
        return put_answer(fleet, *values)


with patch.object(Fleet, "_put_answer", put_answer_and_note):
    fleet = Fleet(settings_from_url(url), folder)
    fleet.start()
    sys.stdin.read()
    fleet.close()
