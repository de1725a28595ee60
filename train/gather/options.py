"""The options that several ``gather`` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.gather.wanted import Licences

OUT = Path("pictures")
LIMIT = 200

OutOpt = Annotated[Path, typer.Option("--out", "-o", help="The folder that pictures and their table go into.")]
LabelOpt = Annotated[
    str,
    typer.Option(
        help="Label of all of them: brown_bear, black_bear, polar_bear, bear, teddy_bear or no_bear; fox=no_bear."
    ),
]
LimitOpt = Annotated[int, typer.Option(min=1, help="Pictures to ask for at most.")]
LicencesOpt = Annotated[
    Licences,
    typer.Option(
        "--licences",
        help="shippable: a model trained on them may be passed on; stated: non-commercial ones too; any: all.",
    ),
]
LicenceOpt = Annotated[str | None, typer.Option(help="Their licence, such as own or 'CC BY 4.0'; default: not stated.")]
AuthorOpt = Annotated[str, typer.Option(help="Who took them, for the credits.")]
NoteOpt = Annotated[str, typer.Option(help="What is on them where the label does not say, such as fox.")]
SourceOpt = Annotated[str, typer.Option(help="What to call where they are from; default: the folder's name.")]
SinceOpt = Annotated[str, typer.Option(help="Only those taken on or after this day: 2024-05-01.")]
UntilOpt = Annotated[str, typer.Option(help="Only those taken on or before this day.")]
ContactOpt = Annotated[
    str, typer.Option(envvar="BEAR_ALARM_CONTACT", help="Your address or page, told to the services you ask.")
]
ApiOpt = Annotated[str, typer.Option("--api", help="Another server that speaks the same language.")]
DryOpt = Annotated[bool, typer.Option("--dry-run", help="Say what would be asked, of whom, and end.")]
