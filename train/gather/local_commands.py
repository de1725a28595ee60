"""The ``gather`` commands for what lies here already: folders, cards, clips, camera-trap sets, and sorting them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import OptionError
from train.gather.options import (
    LIMIT,
    OUT,
    AuthorOpt,
    ContactOpt,
    DryOpt,
    LabelOpt,
    LicenceOpt,
    LimitOpt,
    NoteOpt,
    OutOpt,
    SourceOpt,
)

if TYPE_CHECKING:
    from train.gather.found import Found

log = logging.getLogger(__name__)

LabelsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="Label of all of them; or what a sub-folder's name means: dog=no_bear; repeatable. "
        "Default: sub-folders name labels.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group."""
    for command in (folder, card, clips, lila, sort):
        app.command()(command)


def folder(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of pictures, searched through and through.")
    ],
    label: LabelsOpt = None,
    out: OutOpt = OUT,
    group: Annotated[
        str, typer.Option(help="What keeps them together, such as the camera; default: each sub-folder is a group.")
    ] = "",
    source: SourceOpt = "",
    licence: LicenceOpt = None,
    author: AuthorOpt = "",
    note: NoteOpt = "",
    trail_camera: Annotated[
        bool, typer.Option("--trail-camera", help="They are whole frames of trail cameras; `gather card` knows that.")
    ] = False,
) -> None:
    """Copy the pictures of a folder. Without --label its sub-folders name the labels, as for `train`."""
    from edge.errors import CatalogError
    from train.catalog.labels import parse_labels
    from train.catalog.licences import NOT_STATED
    from train.gather.bring import bring
    from train.gather.labels import plain_label
    from train.gather.local import from_folder

    whole = [each for each in label or [] if "=" not in each]
    if len(whole) > 1 or (whole and len(label or []) > 1):
        raise OptionError(f"--label {whole[0]} is the label of all of them; give no other beside it")
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
    bring(found, out)


def card(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The card, or a copy of it.")],
    label: Annotated[
        str, typer.Option(help="Label of all of them, such as no_bear of a card without bears; default: unsorted.")
    ] = "unsorted",
    out: OutOpt = OUT,
    camera: Annotated[
        str, typer.Option(help="What to call the camera; default: as its pictures (Exif) or its folders say.")
    ] = "",
    place: Annotated[str, typer.Option(help="Where it hangs, where that is no secret.")] = "",
    licence: Annotated[str, typer.Option(help="Their licence.")] = "own",
    author: AuthorOpt = "",
    note: NoteOpt = "",
) -> None:
    """Copy the pictures of a trail camera's card. The camera is the source; pictures within a minute are one group.

    Without --label they go to unsorted/, which training leaves out: move them from there into folders named by
    labels (`bear-alarm classify` says which are worth a look), then run `bear-alarm gather sort`.
    """
    from edge.cli.progress import track
    from train.gather.bring import bring
    from train.gather.labels import plain_label
    from train.gather.local import from_card

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
    bring(found, out)


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
    """Take pictures out of video clips, one every second. Each clip is a group; what does not change is left out."""
    from train.catalog.licences import NOT_STATED
    from train.gather.bring import bring
    from train.gather.clips import from_clip
    from train.gather.labels import plain_label

    its_label, its_note = plain_label(label)

    def frames() -> Iterator[Found]:
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

    bring(frames(), out)


def lila(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The set's COCO Camera Traps JSON, or the zip of it.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="What a category is: 'american black bear=black_bear', deer=no_bear; repeatable."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder that its pictures lie in.")] = None,
    base_url: Annotated[str, typer.Option(help="Or the address that they are fetched from.")] = "",
    out: OutOpt = OUT,
    limit: LimitOpt = LIMIT,
    licence: LicenceOpt = None,
    page: Annotated[str, typer.Option(help="Address of the set's own page, for the credits.")] = "",
    contact: ContactOpt = "",
    dry_run: DryOpt = False,
) -> None:
    """Bring in a camera-trap set as LILA publishes it. Places are groups; boxes come along where there are any.

    Without --label it lists the categories and ends. Labels get equal shares of --limit, and places take turns.
    """
    from urllib.parse import urlsplit

    from train.catalog.licences import NOT_STATED
    from train.gather.labels import category_labels
    from train.gather.lila import from_set, read_set

    traps = read_set(file)
    counts = traps.counts()
    if not label:
        named = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise OptionError(f"{file}: say which categories to take with --label CATEGORY=LABEL; it has {named}")
    labels = category_labels(label, counts)
    if bool(images) == bool(base_url):
        raise OptionError("give --images DIR where the pictures lie here, or --base-url URL to fetch them")
    if images and not images.is_dir():
        raise OptionError(f"--images {images}: no such folder")
    if base_url and urlsplit(base_url).scheme not in {"http", "https"}:
        raise OptionError(f"--base-url {base_url!r} is no web address; it begins with https://")
    if base_url:
        log.info("Asking %s for at most %d pictures of %s.", urlsplit(base_url).netloc, limit, ", ".join(labels))
    if dry_run:
        return
    from train.gather.bring import bring
    from train.gather.download import Downloader, web_client

    found = from_set(
        traps, labels, limit=limit, images=images, base_url=base_url, licence=licence or NOT_STATED, page=page
    )
    if images:
        bring(found, out, most=limit)
        return
    with web_client(contact) as client:
        bring(found, out, Downloader(client), most=limit)


def sort(out: OutOpt = OUT) -> None:
    """Take into the table what you have moved between the folders of labels, out of unsorted/ for instance."""
    from train.gather.sort import sort_moved

    done = sort_moved(out)
    said = ", ".join(f"{count} {label}" for label, count in done.moved.items()) or "nothing was moved"
    log.info("%s: %s; %d unsorted.", out, said, done.unsorted)
    for words, names in (
        ("of the table are nowhere in the folder; put them back, or remove their rows", done.gone),
        ("are not in the table; bring them in with `bear-alarm gather folder`", done.strangers),
        ("name no label; call them by a label", done.folders),
        ("have names that are not UTF-8 text on one line; rename them, and run it again", done.odd),
    ):
        if names:
            log.warning("%d %s: %s", len(names), words, ", ".join(names[:3]) + (", …" if len(names) > 3 else ""))
