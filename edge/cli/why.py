"""``bear-alarm why``: the numbers of one moment against their thresholds, and the gate that held it back."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.options import settings_at_hand
from edge.errors import OptionError
from edge.record.explanation import conclusion, explain
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.record.trace_query import Match

log = logging.getLogger(__name__)

WhenArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="EVENT|TIME",
        help="An event's id or its first 6 characters; seconds into a clip (12.5 or 0:12.5); a time of day (03:12, or "
        "2026-11-24T03:12:07Z); last: the last event, a bear before all others; end: the newest moment. "
        "Default: the last event, or without one the moment of most evidence.",
    ),
]


def why(
    when: WhenArgument = None,
    trace: Annotated[
        Path | None, typer.Option(help="The file that `watch --trace FILE` wrote (default: the config's).")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the time around it, too (.svg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Explain a moment: what moved, the scores and the evidence against their thresholds, and which gate said no.

    It answers for alarms and for quiet moments. Of a live camera the trace keeps what lies around events; of the rest
    it keeps a summary each ten minutes.
    """
    from edge.record.trace_query import find, read_trace

    trace = trace or settings_at_hand().trace
    if trace is None:
        raise OptionError("which trace? give --trace FILE, the file that `bear-alarm watch --trace FILE` wrote")
    if plot and plot.suffix.lower() != ".svg":
        raise OptionError(f"--plot {plot}: is drawn as .svg only; name it {plot.with_suffix('.svg').name}")
    found = find(read_trace(trace), when, camera, now=_now())
    words = explain(found)
    if plot:
        from edge.record.plot import draw

        draw(found, plot)
        log.info("%s written.", plot)
    if as_json:
        print(json.dumps(facts(found, words), indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(words))


def _now() -> datetime:
    return datetime.now(UTC)


def facts(found: Match, words: list[str]) -> dict[str, Any]:
    """Return the answer ready for JSON: the records as the trace has them, and the words."""
    moment, summary = found.moment, found.summary
    return {
        "schema_version": 1,
        "kind": "why",
        "camera": found.run.camera,
        "run": found.run.run_id,
        "event": found.event,
        "missed": found.missed and [utc_text(found.missed.since), utc_text(found.missed.until)],  # no frame came
        "moment": json.loads(moment.to_json()) if moment else None,
        "summary": json.loads(summary.to_json()) if summary else None,
        "so": conclusion(found),
        "words": words,
    }
