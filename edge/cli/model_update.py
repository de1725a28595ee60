"""``bear-alarm model update``: take a signed model or key from a stick, a folder, HTTPS or MQTT."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from edge.cli.events.command import StateOpt
from edge.cli.options import ConfigOpt, target_of
from edge.cli.output import JsonOpt


def update(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A stick or folder, a file, https://…/NAME.onnx, mqtt://HOST/TOPIC with a retained message; or - for "
            "that message on standard input.",
        ),
    ],
    now: Annotated[bool, typer.Option("--now", help="Use the model at once, without a trial.")] = False,
    older: Annotated[bool, typer.Option("--older", help="Take a model that is older than one taken before.")] = False,
    config: ConfigOpt = None,
    state: StateOpt = None,
    as_json: JsonOpt = False,
    unattended: Annotated[bool, typer.Option("--unattended", hidden=True)] = False,
) -> None:
    """Take a new model that a trusted key signed. A running alarm tries it beside the model in use before it uses it.

    A new key that a trusted key signed is taken too, and is trusted from then on.
    """
    from edge.model_store import ModelStore
    from edge.update.child import lower_process
    from edge.update.install import message
    from edge.update.install import update as take

    if unattended:
        lower_process()
    store = ModelStore.of(state or target_of(config, None).state)  # an alarm takes models though a config is broken
    signature = None
    if source == "-":
        source, signature = message(sys.stdin.read())
    outcome = take(source, store, unattended=unattended, older=older, now=now, signature=signature)
    if as_json:
        print(json.dumps({"kind": outcome.kind, "words": outcome.words}, ensure_ascii=False))
    else:
        print(f"{outcome.words[0].upper()}{outcome.words[1:]}.\nModels in {store.folder}")
