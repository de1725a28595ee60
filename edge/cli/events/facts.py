"""All that is known of one event, for ``--json``. Its keys are a contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge.cli.events.evidence import EvidenceFolder
from edge.cli.events.review import review_of
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.record.history import PastEvent


def facts(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> dict[str, Any]:
    """Return one event ready for JSON; times are UTC."""
    first, last = incident.first, incident.last
    return {
        "id": incident.id,
        "kind": first.event.kind,
        "camera": first.event.camera,
        "label": incident.label,
        "top_score": incident.top_score,
        "began_at": utc_text(first.at),
        "ended_at": utc_text(last.at) if incident.state == "over" else None,
        "clock": first.clock,
        "lasted_s": incident.lasted_s,
        "state": incident.state,
        "zones": list(incident.zones),
        "review": None if (review := review_of(incident, folders)) is None else asdict(review),
        "evidence": [
            {
                "folder": str(each.folder),
                "there": each.there,
                "closed": each.closed,
                "locked": each.locked,
                "files": [path.name for path in each.files()],
                "path": each.path(),
            }
            for each in folders
        ],
        "deliveries": [asdict(each) for each in incident.deliveries],
        "events": [json.loads(row.line) | {"at": utc_text(row.at)} for row in incident.events],
    }
