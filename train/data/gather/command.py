"""``bear-alarm gather``: import pictures. Each network command prints what it asks for, from whom, and how much."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from edge.errors import OptionError
from train.data.licences import Licences

if TYPE_CHECKING:
    from collections.abc import Iterable

    from train.data.gather.offers import Offer


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Import pictures, with their table: from folders, cards, clips and open collections.",
)

OUT = Path("pictures")
LIMIT = 200

OutOpt = Annotated[Path, typer.Option("--out", "-o", help="The folder for the pictures and their table.")]
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
NoteOpt = Annotated[str, typer.Option(help="What they show if the label does not say it, such as fox.")]
SourceOpt = Annotated[str, typer.Option(help="Name of their source; default: the folder's name.")]
SinceOpt = Annotated[str, typer.Option(help="Only those taken on or after this day: 2024-05-01.")]
UntilOpt = Annotated[str, typer.Option(help="Only those taken on or before this day.")]
ContactOpt = Annotated[
    str, typer.Option(envvar="BEAR_ALARM_CONTACT", help="Your address or page, sent to the services you ask.")
]
ApiOpt = Annotated[str, typer.Option("--api", help="Another server with the same API.")]
DryOpt = Annotated[bool, typer.Option("--dry-run", help="Print what would be asked, and end.")]


log = logging.getLogger(__name__)

LabelsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="Label of all of them; or what a sub-folder's name means: dog=no_bear; repeatable. "
        "Default: sub-folders name labels.",
    ),
]


@app.command()
def folder(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures, with all its sub-folders.")],
    label: LabelsOpt = None,
    out: OutOpt = OUT,
    group: Annotated[
        str, typer.Option(help="Their group, such as the camera; default: each sub-folder is a group.")
    ] = "",
    source: SourceOpt = "",
    licence: LicenceOpt = None,
    author: AuthorOpt = "",
    note: NoteOpt = "",
    trail_camera: Annotated[
        bool, typer.Option("--trail-camera", help="They are whole frames of trail cameras (`gather card` assumes so).")
    ] = False,
) -> None:
    """Copy the pictures of a folder. Without --label its sub-folders name the labels, as for `train`."""
    from edge.errors import CatalogError
    from train.data.gather.download import import_pictures
    from train.data.gather.local import from_folder
    from train.data.licences import NOT_STATED
    from train.data.pictures import parse_labels, plain_label

    whole = [each for each in label or [] if "=" not in each]
    if len(whole) > 1 or (whole and len(label or []) > 1):
        raise OptionError(f"--label {whole[0]} is the label of all of them; give no other label")
    meant = parse_labels(each for each in label or [] if "=" in each)

    def of_folder(name: str) -> tuple[str, str]:
        try:
            return plain_label(name, meant)
        except OptionError as error:
            raise CatalogError(f"{directory / name}: {error}") from None

    its_label, its_note = plain_label(whole[0]) if whole else ("", "")
    found = from_folder(
        directory,
        its_label or of_folder,
        source=source,
        group=group,
        licence=licence or NOT_STATED,
        author=author,
        note=note or its_note,
        trail_camera=trail_camera,
    )
    import_pictures(found, out)


@app.command()
def card(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The card, or a copy of it.")],
    label: Annotated[
        str, typer.Option(help="Label of all of them, such as no_bear of a card without bears; default: unsorted.")
    ] = "unsorted",
    out: OutOpt = OUT,
    camera: Annotated[
        str, typer.Option(help="Name of the camera; default: from its pictures (Exif) or its folders.")
    ] = "",
    place: Annotated[str, typer.Option(help="Its place, if that is no secret.")] = "",
    licence: Annotated[str, typer.Option(help="Their licence.")] = "own",
    author: AuthorOpt = "",
    note: NoteOpt = "",
) -> None:
    """Copy the pictures of a trail camera's card. The camera is the source; pictures within a minute are one group.

    Without --label they go to unsorted/, which training skips. Move them into folders named by labels (`bear-alarm
    classify` shows which to look at first), then run `bear-alarm gather sort`.
    """
    from edge.cli.output import track
    from train.data.gather.download import import_pictures
    from train.data.gather.local import from_card
    from train.data.pictures import plain_label

    its_label, its_note = plain_label(label)
    found = from_card(
        directory,
        its_label,
        camera=camera,
        licence=licence,
        author=author,
        place=place,
        note=note or its_note,
        track=track,
    )
    import_pictures(found, out)


@app.command()
def clips(
    files: Annotated[list[Path], typer.Argument(metavar="CLIP…", help="Video clips.")],
    label: LabelOpt,
    out: OutOpt = OUT,
    every: Annotated[float, typer.Option(min=0.01, help="Seconds between two pictures.")] = 1.0,
    limit: Annotated[int, typer.Option(min=1, help="Pictures of one clip at most.")] = LIMIT,
    source: SourceOpt = "",
    licence: LicenceOpt = None,
    author: AuthorOpt = "",
    note: NoteOpt = "",
) -> None:
    """Take pictures out of video clips, one every second. Each clip is a group; frames without a change are skipped."""
    from train.data.gather.download import import_pictures
    from train.data.gather.local import from_clip
    from train.data.licences import NOT_STATED
    from train.data.pictures import plain_label

    its_label, its_note = plain_label(label)

    def frames() -> Iterator[Offer]:
        for file in files:
            yield from from_clip(
                file,
                its_label,
                every_s=every,
                most=limit,
                source=source,
                licence=licence or NOT_STATED,
                author=author,
                note=note or its_note,
            )

    import_pictures(frames(), out)


@app.command()
def lila(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The set's COCO Camera Traps JSON, or the zip of it.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="A category's label: 'american black bear=black_bear', deer=no_bear; repeatable."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder with its pictures.")] = None,
    base_url: Annotated[str, typer.Option(help="Or the address of its pictures.")] = "",
    out: OutOpt = OUT,
    limit: LimitOpt = LIMIT,
    licence: LicenceOpt = None,
    page: Annotated[str, typer.Option(help="Address of the set's own page, for the credits.")] = "",
    contact: ContactOpt = "",
    dry_run: DryOpt = False,
) -> None:
    """Import a camera-trap set as LILA publishes it. Places are groups; boxes are imported too.

    Without --label it lists the categories and ends. Labels get equal shares of --limit, and places take turns.
    """
    from train.data.gather.local import from_set, read_set
    from train.data.licences import NOT_STATED
    from train.data.pictures import category_labels

    traps = read_set(file)
    counts = traps.counts()
    if not label:
        named = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise OptionError(f"{file}: choose categories with --label CATEGORY=LABEL; it has {named}")
    labels = category_labels(label, counts)
    if bool(images) == bool(base_url):
        raise OptionError("give --images DIR if the pictures are on this machine, or --base-url URL to fetch them")
    if images and not images.is_dir():
        raise OptionError(f"--images {images}: no such folder")
    if base_url and urlsplit(base_url).scheme not in {"http", "https"}:
        raise OptionError(f"--base-url {base_url!r} is no web address; it begins with https://")
    if base_url:
        log.info("Asking %s for at most %d pictures of %s.", urlsplit(base_url).netloc, limit, ", ".join(labels))
    if dry_run:
        return
    from train.data.gather.download import Downloader, import_pictures, web_client

    found = from_set(
        traps, labels, limit=limit, images=images, base_url=base_url, licence=licence or NOT_STATED, page=page
    )
    if images:
        import_pictures(found, out, most=limit)
        return
    with web_client(contact) as client:
        import_pictures(found, out, Downloader(client), most=limit)


@app.command()
def sort(out: OutOpt = OUT) -> None:
    """Update the table after you have moved pictures between the label folders, such as out of unsorted/."""
    from train.data.gather.importer import sort_moved

    done = sort_moved(out)
    moved = ", ".join(f"{count} {label}" for label, count in done.moved.items()) or "nothing was moved"
    log.info("%s: %s; %d unsorted.", out, moved, done.unsorted)
    for words, names in (
        ("of the table are not in the folder; put them back, or remove their rows", done.gone),
        ("are not in the table; import them with `bear-alarm gather folder`", done.unlisted),
        ("are folders that name no label; give them a label's name", done.folders),
        ("have names that are not UTF-8 text on one line; rename them, and run it again", done.odd),
    ):
        if names:
            log.warning("%d %s: %s", len(names), words, ", ".join(names[:3]) + (", …" if len(names) > 3 else ""))


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

    Observations of tracks, scat, bones, hair or a dead animal are skipped. One observer's day is a group.
    """
    its_label, its_note = _labelled(label, note)
    where = f" from place {place}" if place else ""
    _announce(
        limit, f"photographs of {species} in research-grade observations{where}{_when(since, until)}", api, licences
    )
    if dry_run:
        return
    from train.data.gather.online import from_inaturalist

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
    _announce(limit, f"photographs of {species}{where}{_when(since, until)}", api, licences)
    if dry_run:
        return
    from train.data.gather.online import from_gbif

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

    A search is no label: check the pictures. Photographs of one author are a group. Commons asks for a contact
    address: give --contact.
    """
    its_label, its_note = _labelled(label, note)
    _announce(limit, f"photographs for {query!r}", api, licences)
    if dry_run:
        return
    from train.data.gather.download import web_client
    from train.data.gather.online import from_commons

    with web_client(contact) as client:
        found = from_commons(query, its_label, client, limit=limit, licences=licences, api=api)
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
    """Fetch the results of a web image search (ddgs: DuckDuckGo and others). Their licences are not known.

    So a model trained on them may not be passed on; `train --shippable` skips them. The Bing Image Search API of the
    fastai book was closed in August 2025; this can take its place for experiments.
    """
    its_label, its_note = _labelled(label, note)
    _announce(limit, f"pictures for {query!r}", "duckduckgo.com and other search engines", Licences.any)
    if dry_run:
        return
    from train.data.gather.online import from_web

    _fetch(from_web(query, its_label, limit=limit), out, limit, its_note, contact)


def _announce(limit: int, what: str, whom: str, licences: Licences) -> None:
    host = urlsplit(whom).netloc or whom
    log.info("Asking %s for at most %d %s; licence: %s.", host, limit, what, licences.words)


def _when(since: str, until: str) -> str:
    for day in (since, until):
        if day and not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            raise OptionError(f"{day!r} is no day; write it as 2024-05-01")
    return (f" since {since}" if since else "") + (f" until {until}" if until else "")


def _labelled(label: str, note: str) -> tuple[str, str]:
    from train.data.pictures import plain_label

    its_label, its_note = plain_label(label)
    return its_label, note or its_note


def _fetch(found: Iterable[Offer], out: Path, limit: int, note: str, contact: str) -> None:
    from dataclasses import replace

    from train.data.gather.download import Downloader, import_pictures, web_client

    noted = (replace(each, note=note) if note else each for each in found)
    with web_client(contact) as client:
        import_pictures(noted, out, Downloader(client), most=limit)
