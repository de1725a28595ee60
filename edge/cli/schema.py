"""``bear-alarm schema``: the JSON Schema of events, of the model card and of the config."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from edge.cli.output import print_json


class What(StrEnum):
    """Names of the schemas."""

    event = "event"
    card = "card"
    config = "config"


def schema(
    what: Annotated[
        What, typer.Argument(help="event: a line of the event log; card: the model card; config: the config file.")
    ],
) -> None:
    """Print the JSON Schema of events, of the model card or of the config."""
    print_json(_schema(what))


def _schema(what: What) -> dict[str, Any]:
    if what is What.config:
        from edge.config.schema import editor_schema

        return editor_schema()
    from pydantic import TypeAdapter

    from edge.detect.card import Card
    from edge.schema import Event

    kind: TypeAdapter[Event] | TypeAdapter[Card] = TypeAdapter(Event) if what is What.event else TypeAdapter(Card)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | kind.json_schema()
