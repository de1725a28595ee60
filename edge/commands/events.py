"""``bear-alarm events``: what happened, as the journal knows it; and its evidence, locked or handed out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from edge.commands.config_options import settings_at_hand
from edge.errors import OptionError
from edge.state import ENVIRONMENT, JOURNAL, SERVICE, state_folder

if TYPE_CHECKING:
    from edge.journal.reader import Happening, JournalReader

log = logging.getLogger(__name__)

MOST = 50  # happenings listed unless more are asked for
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Kind(StrEnum):
    """What an event can be of."""

    bear = "bear"
    camera = "camera"
    health = "health"
    test = "test"


class Group(TyperGroup):
    """Says what to do with an id that stands where ``show``, ``lock``, ``review`` or another command belongs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command the words name, or a usage error that suggests the right one."""
        word = args[0]
        if word not in self.commands and not word.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(word, self.commands, n=1)
            ctx.fail(
                f"{word!r} is no command of `events`; did you mean `events {near[0] if near else f'show {word}'}`?"
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Group,
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StateOpt = Annotated[
    Path | None,
    typer.Option(
        "--state",
        readable=False,  # what may not be read is said better here
        help=f"Folder the alarm keeps its journal in; left out, the config's, ${ENVIRONMENT} or this user's own.",
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
        int | None, typer.Option(min=0, help=f"Only so many, the newest; 0 for all. Left out, {MOST}, in JSON all.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """List what happened, one line each, the newest last: bears, cameras that failed, tests.

    It works while the alarm runs. Times are local; ~ and ? mark those of a clock that was not set.
    """
    ctx.obj = state = state or settings_at_hand().state
    if ctx.invoked_subcommand:
        if since or kind or camera or limit is not None or as_json:
            name = ctx.invoked_subcommand
            raise OptionError(f"options stand behind the command they belong to: events {name} …")
        return
    from edge.commands.events_files import evidence
    from edge.commands.events_story import facts
    from edge.commands.events_words import listed

    after = moment(since)
    most = limit if limit is not None else 0 if as_json else MOST
    folder, found, more = state_folder(state), [], False
    with opened(state) as journal:
        if journal:
            check_camera(journal, camera)
            found = journal.happenings(kind=kind, camera=camera, since=after, limit=most and most + 1)
            more = bool(most) and len(found) > most
            found = found[1:] if more else found
            if not found:
                log.info("%s", nothing(journal, kind, camera, after))
    shown = [(each, evidence(each, folder)) for each in found]
    if as_json:
        document = {"schema_version": 1, "kind": "events", "happenings": [facts(*each) for each in shown]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif shown:
        print(listed(shown))
        if more:
            log.info("There are earlier ones: --limit 0 shows all.")


@app.command()
def show(ctx: typer.Context, id_: IdArgument, state: StateOpt = None, as_json: JsonOpt = False) -> None:
    """Print all there is to know of one: each event of it, its evidence, and who was told."""
    from edge.commands.events_files import evidence
    from edge.commands.events_story import facts, shown

    found = chosen(ctx, state, [id_])[0]
    kept = evidence(found, state_folder(state or ctx.obj))
    print(json.dumps(facts(found, kept), indent=2, ensure_ascii=False) if as_json else shown(found, kept))


@app.command()
def lock(ctx: typer.Context, ids: IdsArgument, state: StateOpt = None) -> None:
    """Keep the evidence of these for ever: it is not cleared away when room is short."""
    _keep(ctx, ids, state, wanted=True)


@app.command()
def unlock(ctx: typer.Context, ids: IdsArgument, state: StateOpt = None) -> None:
    """Let the evidence of these be cleared away again, when room is short and its turn comes."""
    _keep(ctx, ids, state, wanted=False)


@app.command()
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="The zip to write.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID…]", help="Events' ids, their beginnings, or last; left out, all since --since."),
    ] = None,
    since: SinceOpt = None,
    kind: KindOpt = None,
    camera: CameraOpt = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    state: StateOpt = None,
) -> None:
    """Put events with their pictures and clips into one zip, to hand on."""
    from edge.commands.events_files import pack
    from edge.commands.events_story import readme

    if bool(ids) == bool(since):
        raise OptionError("which events? name their ids, or --since for all from then on (one of the two)")
    if ids and (kind or camera):
        raise OptionError("--kind and --camera go with --since; the ids already say which events")
    if ids:
        found = chosen(ctx, state, ids)
    else:
        after = moment(since)
        with opened(state or ctx.obj, needed=True) as journal:
            assert journal
            check_camera(journal, camera)
            found = journal.happenings(kind=kind, camera=camera, since=after)
            if not found:
                raise OptionError(nothing(journal, kind, camera, after))
    words = readme(found, datetime.now(UTC))
    kept, gone = pack(found, state_folder(state or ctx.obj), out, words, force=force)
    log.info(
        "%s: %d event%s with %d file%s of evidence.", out, len(found), "s" * (len(found) != 1), kept, "s" * (kept != 1)
    )
    if gone:
        log.warning("%d files of evidence were cleared away meanwhile and are not in it", gone)


@app.command()
def review(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(metavar="ID…", help="Events' ids, last, or paths of evidence.")],
    confirmed: Annotated[bool, typer.Option("--confirmed", help="There was a bear.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="There was none.")] = False,
    label: Annotated[str | None, typer.Option(help="What it was: brown_bear, teddy_bear, fox …")] = None,
    unsure: Annotated[bool, typer.Option("--unsure", help="Nobody can tell.")] = False,
    note: Annotated[str | None, typer.Option(help="A word on it, for people.")] = None,
    box: Annotated[str | None, typer.Option(help="Where in the whole frame: x,y,width,height, 0 to 1.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; left out, this user.")] = None,
    state: StateOpt = None,
) -> None:
    """Say what it was, for the next model to learn from (`bear-alarm feedback import`)."""
    from edge.commands.events_review import review_all, reviewed, units_of

    said = reviewed(label, box, by, note, confirmed=confirmed, wrong=wrong, unsure=unsure)
    units, ids = units_of(what)
    review_all(units, chosen(ctx, state, ids) if ids else [], state_folder(state or ctx.obj), said)


def _keep(ctx: typer.Context, ids: list[str], state: Path | None, *, wanted: bool) -> None:
    from edge.commands.events_files import keep
    from edge.commands.events_words import named

    for found in chosen(ctx, state, ids):
        keep(found, state_folder(state or ctx.obj), wanted=wanted)
        print(f"{named(found)}: {'locked, and never cleared away' if wanted else 'no longer locked'}")


def chosen(ctx: typer.Context, state: Path | None, ids: list[str]) -> list[Happening]:
    """The happenings these ids name, each once. Raises OptionError."""
    with opened(state or ctx.obj, needed=True) as journal:
        assert journal
        found = {one.id: one for one in map(journal.find, ids)}
    return list(found.values())


@contextmanager
def opened(state: Path | None, *, needed: bool = False) -> Iterator[JournalReader | None]:
    """The journal; None, and said, where there is none yet and the user named no folder that should have one.

    Raises OptionError where one is needed, and JournalReadError.
    """
    from edge.journal.read_only import NoJournalError
    from edge.journal.reader import JournalReader

    folder = state_folder(state)
    try:
        journal = JournalReader(folder / JOURNAL)
    except NoJournalError as error:
        if state is not None and not folder.is_dir():
            raise OptionError(f"--state {state}: {'is no folder' if folder.exists() else 'no such folder'}") from None
        if state is not None:
            raise OptionError(f"{error}; name the folder of an alarm that has run, or leave --state out") from None
        service = SERVICE / JOURNAL
        hint = f"; the service's is shown by --state {SERVICE}" if folder != SERVICE and seen(service) else ""
        words = f"nothing was recorded yet: {folder} holds no journal, which `bear-alarm watch` keeps{hint}"
        if needed:
            raise OptionError(words) from None
        log.info("%s.", words[0].upper() + words[1:])
        yield None
        return
    with journal:
        yield journal


def seen(path: Path) -> bool:
    """Whether a file is there, as far as this user can see."""
    try:
        return path.exists()
    except OSError:
        return False


def moment(word: str | None) -> datetime | None:
    """What --since means: so long ago, or a date with or without a time, local unless it says otherwise."""
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
    """Refuse a camera of which nothing was ever told. Raises OptionError."""
    names = journal.cameras() if camera else []
    if names and camera not in names:
        near = get_close_matches(camera or "", names, n=1)
        which = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
        raise OptionError(f"--camera {camera!r}: no such camera in the journal; {which}")


def nothing(journal: JournalReader, kind: Kind | None, camera: str | None, after: datetime | None) -> str:
    """One sentence where nothing was found: what was looked for, and what there is."""
    asked = f" of kind {kind.value}" if kind else ""
    asked += f" from camera {camera}" if camera else ""
    asked += f" since {after.astimezone():%Y-%m-%d %H:%M}" if after else ""
    newest = journal.happenings(limit=1)
    if not newest:
        return "Nothing has happened yet: the journal is there and holds no event."
    last = newest[0].first
    return f"No event{asked}; the last one of all was on {last.at.astimezone():%Y-%m-%d at %H:%M} ({last.event.kind})."
