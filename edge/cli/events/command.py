"""Commands of ``bear-alarm events``, and how they find events in the journal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.camtrap_options import Camtrap, camtrap_options
from edge.cli.events.evidence import write_camtrap_dp, write_zip
from edge.cli.events.review import make_review, review_all, split_units
from edge.cli.events.show import details, facts, listed, named
from edge.cli.help_page import command_group
from edge.cli.options import no_such_camera, options_of, settings_at_hand
from edge.cli.output import counted, print_json
from edge.errors import OptionError
from edge.files import ENVIRONMENT, JOURNAL, SERVICE, state_folder
from edge.record.event_folders import EvidenceFolder, evidence_of, set_lock, waits

if TYPE_CHECKING:
    from edge.record.history import JournalReader, PastEvent

log = logging.getLogger(__name__)

MAX_LISTED = 50  # events listed unless more are asked for

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Kind(StrEnum):
    """Name the kinds of events."""

    bear = "bear"
    camera = "camera"
    health = "health"
    notice = "notice"


class NothingRecordedError(OptionError):
    """No alarm has kept a journal here yet."""


app = command_group(invoke_without_command=True)

StateOpt = Annotated[
    Path | None,
    typer.Option(
        "--state",
        readable=False,  # the journal's own sentence is better
        help=f"Folder of the alarm's journal (default: the config's, ${ENVIRONMENT} or this user's own).",
    ),
]

SinceOpt = Annotated[
    str | None, typer.Option(help="Only what began since then: 30m, 12h, 2d, 1w, 2026-11-24 or '2026-11-24 03:00'.")
]

KindOpt = Annotated[Kind | None, typer.Option(help="Only this kind.")]

CameraOpt = Annotated[str | None, typer.Option(help="Only this camera.")]

JsonOpt = Annotated[bool, typer.Option("--json", help="Print it as JSON; times are UTC.")]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The event's id, its beginning, or last.")]

IdsArgument = Annotated[list[str], typer.Argument(metavar="ID…", help="Events' ids, their beginnings, or last.")]


@app.callback()
def events(
    ctx: typer.Context,
    state: StateOpt = None,
    since: SinceOpt = None,
    kind: KindOpt = None,
    camera: CameraOpt = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Only so many, the newest; 0 for all (default: {MAX_LISTED}; in JSON, all)."),
    ] = None,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Only bears that wait for `events review`, with pictures to look at.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """List what happened, one line each, the newest last: bears, cameras that failed, the alarm's troubles, notices.

    It works while the alarm runs. Times are local; ~ and ? mark those of a clock that was not set.
    """
    ctx.obj = state = state or settings_at_hand().state
    if ctx.invoked_subcommand:
        if since or kind or camera or limit is not None or unreviewed or as_json:
            name = ctx.invoked_subcommand
            raise OptionError(f"put options behind the command they belong to: events {name} …")
        return

    if unreviewed and kind not in (None, Kind.bear):
        raise OptionError(f"--unreviewed --kind {kind.value}: only bears are reviewed; leave --kind out")
    kind = Kind.bear if unreviewed else kind
    after = parse_since(since)
    most = limit if limit is not None else 0 if as_json else MAX_LISTED
    limit_read = most + 1 if most and not unreviewed else 0  # one more than are shown, to know whether there are more
    found = _events_found(state, kind, camera, after, limit_read)
    if unreviewed:
        waiting = [each for each in found if waits(*each)]
        if found and not waiting:
            log.info("Nothing waits: every bear whose pictures are there is reviewed.")
        found = waiting
    shown = found[-most:] if most else found
    if as_json:
        print_json({"schema_version": 1, "kind": "events", "happenings": [facts(*each) for each in shown]})
    elif shown:
        print(listed(shown))
        if len(shown) < len(found):
            log.info("There are earlier ones: --limit 0 shows all.")


def _events_found(
    state: Path | None, kind: Kind | None, camera: str | None, after: datetime | None, limit: int
) -> list[tuple[PastEvent, list[EvidenceFolder]]]:
    """Return the events and their evidence; none, with a message, where nothing was recorded or found."""
    folder = state_folder(state)
    try:
        with open_journal(state) as journal:
            check_camera(journal, camera)
            found = journal.incidents(kind=kind, camera=camera, since=after, limit=limit)
            if not found:
                log.info("%s", no_event(journal, kind, camera, after))
            return [(each, evidence_of(each, folder)) for each in found]
    except NothingRecordedError as error:
        words = str(error)
        log.info("%s.", words[0].upper() + words[1:])
        return []


@app.command()
def show(ctx: typer.Context, id_: IdArgument, state: StateOpt = None, as_json: JsonOpt = False) -> None:
    """Print all that is known of one event: its messages, its evidence, and who was notified."""
    found = find_events(state or ctx.obj, [id_])[0]
    folders = evidence_of(found, state_folder(state or ctx.obj))
    if as_json:
        print_json(facts(found, folders))
    else:
        print(details(found, folders))


@app.command()
def lock(ctx: typer.Context, ids: IdsArgument, state: StateOpt = None) -> None:
    """Lock the evidence of these events: it is never deleted to make room."""
    _set_locks(state or ctx.obj, ids, locked=True)


@app.command()
def unlock(ctx: typer.Context, ids: IdsArgument, state: StateOpt = None) -> None:
    """Unlock the evidence of these events: it may be deleted to make room, the oldest first."""
    _set_locks(state or ctx.obj, ids, locked=False)


@app.command()
@options_of(camtrap=camtrap_options)
def export(
    ctx: typer.Context,
    camtrap: Callable[..., Camtrap | None],
    out: Annotated[Path | None, typer.Option(help="The zip to write.")] = None,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID…]", help="Events' ids, their beginnings, or last (default: all since --since)."),
    ] = None,
    since: SinceOpt = None,
    kind: KindOpt = None,
    camera: CameraOpt = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file or package if it is there; an old package is kept.")
    ] = False,
    state: StateOpt = None,
) -> None:
    """Export events with their pictures and clips into one zip, or bears into a Camtrap DP package.

    In a package each bear is one observation of an event, by the model, or by the person who reviewed it; its
    deployment has the camera's name, and the place that --deployments or the config's site gives.
    """
    package = camtrap(force, alarm=True)
    if (out is None) == (package is None):
        raise OptionError("export into what? give --out for a zip, or --camtrap-dp for a package (one of the two)")
    if bool(ids) == bool(since):
        raise OptionError("which events? name their ids, or --since for all from then on (one of the two)")
    if ids and (kind or camera):
        raise OptionError("--kind and --camera go with --since; with ids leave both out")
    if ids:
        found = find_events(state or ctx.obj, ids)
    else:
        after = parse_since(since)
        with open_journal(state or ctx.obj) as journal:
            check_camera(journal, camera)
            found = journal.incidents(kind=kind, camera=camera, since=after)
            if not found:
                raise OptionError(no_event(journal, kind, camera, after))
    if package:
        write_camtrap_dp(found, state_folder(state or ctx.obj), package)
        return
    assert out is not None
    count, gone = write_zip(found, state_folder(state or ctx.obj), out, force=force)
    log.info("%s: %s with %s of evidence.", out, counted(len(found), "event"), counted(count, "file"))
    if gone:
        log.warning("not in it, because they were deleted meanwhile: %s of evidence", counted(gone, "file"))


@app.command()
def review(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="ID…", help="Events' ids, last, or paths of evidence.")],
    confirmed: Annotated[bool, typer.Option("--confirmed", help="There was a bear.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="There was none.")] = False,
    label: Annotated[str | None, typer.Option(help="What it was: brown_bear, teddy_bear, fox …")] = None,
    unsure: Annotated[bool, typer.Option("--unsure", help="It is not clear what it was.")] = False,
    note: Annotated[str | None, typer.Option(help="A note for people.")] = None,
    box: Annotated[str | None, typer.Option(help="Where in the whole frame: x,y,width,height, 0 to 1.")] = None,
    by: Annotated[str | None, typer.Option(help="Who reviews (default: this user).")] = None,
    state: StateOpt = None,
) -> None:
    """Review events: what was it? The next model learns from it (`bear-alarm feedback import`)."""
    given = make_review(label, box, by, note, confirmed=confirmed, wrong=wrong, unsure=unsure)
    units, ids = split_units(what)
    review_all(units, find_events(state or ctx.obj, ids) if ids else [], state_folder(state or ctx.obj), given)


def _set_locks(state: Path | None, ids: list[str], *, locked: bool) -> None:
    for found in find_events(state, ids):
        set_lock(found, state_folder(state), locked=locked)
        print(f"{named(found)}: {'locked, and never deleted to make room' if locked else 'no longer locked'}")


@contextmanager
def open_journal(state: Path | None) -> Iterator[JournalReader]:
    """Yield the journal. Raises OptionError without one: NothingRecordedError where no folder was named."""
    from edge.record.history import JournalReader, NoJournalError

    folder = state_folder(state)
    try:
        journal = JournalReader(folder / JOURNAL)
    except NoJournalError as error:
        if state is None:
            raise NothingRecordedError(_no_journal(folder)) from None
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "no such folder"
            raise OptionError(f"--state {state}: {what}; name the folder of the alarm's journal") from None
        raise OptionError(f"{error}; name the folder of an alarm that has run, or leave --state out") from None
    with journal:
        yield journal


def find_events(state: Path | None, ids: list[str]) -> list[PastEvent]:
    """Return the events these ids name, each once. Raises OptionError."""
    with open_journal(state) as journal:
        found = {one.id: one for one in map(journal.find, ids)}
    return list(found.values())


def _no_journal(folder: Path) -> str:
    service = SERVICE / JOURNAL
    hint = f"; the service's is shown by --state {SERVICE}" if folder != SERVICE and _visible(service) else ""
    return (
        f"nothing was recorded yet: {folder} holds no journal{hint}. `bear-alarm watch` keeps one of live cameras; "
        "the demo and clips leave their pictures in ./evidence, and are recorded here "
        "only with --state, a config or a channel over a network"
    )


def _visible(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def parse_since(word: str | None) -> datetime | None:
    """Parse --since: a duration back from now, or a date with or without a time, local unless it has a zone."""
    if word is None:
        return None
    ago = re.fullmatch(r"\s*(\d{1,6})\s*([mhdw])\s*", word.lower())
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(word.strip().replace("z", "Z")).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise OptionError(f"--since {word!r}: give 30m, 12h, 2d, 1w, or a date like 2026-11-24") from None


def check_camera(journal: JournalReader, camera: str | None) -> None:
    """Check that the journal has events of this camera. Raises OptionError."""
    names = journal.cameras()
    if camera and names and camera not in names:
        raise no_such_camera(camera, names, "journal")


def no_event(journal: JournalReader, kind: Kind | None, camera: str | None, after: datetime | None) -> str:
    """Return one sentence: which event was looked for and not found, and what there is."""
    asked = f" of kind {kind.value}" if kind else ""
    asked += f" from camera {camera}" if camera else ""
    asked += f" since {after.astimezone():%Y-%m-%d %H:%M}" if after else ""
    newest = journal.incidents(limit=1)
    if not newest:
        return "Nothing has happened yet: the journal is there and holds no event."
    last = newest[0].first
    return f"No event{asked}; the last one of all was on {last.at.astimezone():%Y-%m-%d at %H:%M} ({last.event.kind})."
