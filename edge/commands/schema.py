"""``bear-alarm schema``: the JSON Schema of what crosses the border of the program."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer


class What(StrEnum):
    """What has a schema."""

    event = "event"
    card = "card"


def schema(what: Annotated[What, typer.Argument(help="event: a line of the event log; card: the model card.")]) -> None:
    """Print the JSON Schema of events or of the model card."""
    from pydantic import TypeAdapter

    from edge.card import Card
    from edge.schema import Event

    kind: TypeAdapter[Event] | TypeAdapter[Card] = TypeAdapter(Event) if what is What.event else TypeAdapter(Card)
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | kind.json_schema()
    print(json.dumps(found, indent=2, ensure_ascii=False))
