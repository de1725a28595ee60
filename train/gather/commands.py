"""``bear-alarm gather``: bring pictures in. Each network command says what it asks, of whom, and how much at most."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from edge.errors import OptionError
from train.gather import local_commands
from train.gather.options import (
    LIMIT,
    OUT,
    ApiOpt,
    ContactOpt,
    DryOpt,
    LabelOpt,
    LicencesOpt,
    LimitOpt,
    NoteOpt,
    OutOpt,
    SinceOpt,
    UntilOpt,
)
from train.gather.wanted import Licences

if TYPE_CHECKING:
    from collections.abc import Iterable

    from train.gather.found import Found

log = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Bring pictures in, with their table: from folders, cards, clips and open collections.",
)
local_commands.add_to(app)

SpeciesArgument = Annotated[str, typer.Argument(metavar="SPECIES", help="Scientific name, such as 'Ursus arctos'.")]
QueryArgument = Annotated[str, typer.Argument(metavar="QUERY", help="Words to search for.")]


@app.command()
def inaturalist(
    species: SpeciesArgument,
    label: LabelOpt,
    out: OutOpt = OUT,
    limit: LimitOpt = LIMIT,
    licences: LicencesOpt = Licences.shippable,
    place: Annotated[int | None, typer.Option(help="Only from this place: its number at iNaturalist.")] = None,
    since: SinceOpt = "",
    until: UntilOpt = "",
    note: NoteOpt = "",
    contact: ContactOpt = "",
    api: ApiOpt = "https://api.inaturalist.org/v1",
    dry_run: DryOpt = False,
) -> None:
    """Fetch photographs of wild animals from iNaturalist: research-grade observations, filtered by licence.

    Observations that are annotated as tracks, scat, bones, hair or dead are passed over. One observer's day is a group.
    """
    its_label, its_note = _labelled(label, note)
    where = f" from place {place}" if place else ""
    _say(limit, f"photographs of {species} in research-grade observations{where}{_when(since, until)}", api, licences)
    if dry_run:
        return
    from train.gather.inaturalist import from_inaturalist

    found = from_inaturalist(
        species,
        its_label,
        limit=limit,
        licences=licences,
        place_id=place,
        since=since,
        until=until,
        contact=contact,
        api=api,
    )
    _fetch(found, out, limit, its_note, contact)


@app.command()
def gbif(
    species: SpeciesArgument,
    label: LabelOpt,
    out: OutOpt = OUT,
    limit: LimitOpt = LIMIT,
    licences: LicencesOpt = Licences.shippable,
    country: Annotated[str, typer.Option(help="Only from this country: two letters, such as CA.")] = "",
    since: SinceOpt = "",
    until: UntilOpt = "",
    note: NoteOpt = "",
    contact: ContactOpt = "",
    api: ApiOpt = "https://api.gbif.org/v1/",
    dry_run: DryOpt = False,
) -> None:
    """Fetch photographs from the collections that GBIF brings together: observations and camera traps.

    Each data set is a source; a camera trap, or one observer's day, is a group.
    """
    its_label, its_note = _labelled(label, note)
    if country and not re.fullmatch(r"[A-Za-z]{2}", country):
        raise OptionError(f"--country {country!r} is no code of two letters, such as CA or SE")
    where = f" from {country.upper()}" if country else ""
    _say(limit, f"photographs of {species}{where}{_when(since, until)}", api, licences)
    if dry_run:
        return
    from train.gather.gbif import from_gbif

    found = from_gbif(
        species, its_label, limit=limit, licences=licences, country=country, since=since, until=until, api=api
    )
    _fetch(found, out, limit, its_note, contact)


@app.command()
def commons(
    query: QueryArgument,
    label: LabelOpt,
    out: OutOpt = OUT,
    limit: LimitOpt = LIMIT,
    licences: LicencesOpt = Licences.shippable,
    note: NoteOpt = "",
    contact: ContactOpt = "",
    api: ApiOpt = "https://commons.wikimedia.org/w/api.php",
    dry_run: DryOpt = False,
) -> None:
    """Fetch photographs from Wikimedia Commons that its search finds for some words.

    A search is no label: look through what came. Photographs of one author are a group. Commons wishes to know
    whom to write to: give --contact.
    """
    its_label, its_note = _labelled(label, note)
    _say(limit, f"photographs for {query!r}", api, licences)
    if dry_run:
        return
    from threading import Event

    from train.gather.commons import from_commons
    from train.gather.download import web_client

    with web_client(contact) as client:
        found = from_commons(query, its_label, client, Event(), limit=limit, licences=licences, api=api)
        _fetch(found, out, limit, its_note, contact)


@app.command()
def web(
    query: QueryArgument,
    label: LabelOpt,
    out: OutOpt = OUT,
    limit: LimitOpt = LIMIT,
    note: NoteOpt = "",
    contact: ContactOpt = "",
    dry_run: DryOpt = False,
) -> None:
    """Fetch what a web image search finds (ddgs: DuckDuckGo and others). Their licences are not known.

    So a model trained on them may not be passed on; `train --shippable` leaves them out. The Bing Image Search
    API of the fastai book was closed in August 2025; this is what can take its place for trying things out.
    """
    its_label, its_note = _labelled(label, note)
    _say(limit, f"pictures for {query!r}", "duckduckgo.com and other search engines", Licences.any)
    if dry_run:
        return
    from train.gather.web import from_web

    _fetch(from_web(query, its_label, limit=limit), out, limit, its_note, contact)


def _say(limit: int, what: str, whom: str, licences: Licences) -> None:
    host = urlsplit(whom).netloc or whom
    log.info("Asking %s for at most %d %s; licence: %s.", host, limit, what, licences.words)


def _when(since: str, until: str) -> str:
    for day in (since, until):
        if day and not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            raise OptionError(f"{day!r} is no day; write it as 2024-05-01")
    return (f" since {since}" if since else "") + (f" until {until}" if until else "")


def _labelled(label: str, note: str) -> tuple[str, str]:
    from train.gather.labels import plain_label

    its_label, said = plain_label(label)
    return its_label, note or said


def _fetch(found: Iterable[Found], out: Path, limit: int, note: str, contact: str) -> None:
    from dataclasses import replace

    from train.gather.bring import bring
    from train.gather.download import Downloader, web_client

    noted = (replace(each, note=note) if note else each for each in found)
    with web_client(contact) as client:
        bring(noted, out, Downloader(client), most=limit)
