"""``bear-alarm events``: what happened, as the journal knows it; and its evidence, locked or handed out."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import re
import shutil
import textwrap
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from typer.core import TyperGroup

from edge.cli.options import settings_at_hand
from edge.cli.progress import counted
from edge.errors import OptionError
from edge.files import ENVIRONMENT, JOURNAL, SERVICE, state_folder
from edge.local_time import lasting
from edge.record.media_store import SAMPLE
from edge.record.review import Review, Verdict, read_review, write_review
from edge.schema import BoxXYWH, utc_text

if TYPE_CHECKING:
    from edge.record.history import Clock, Delivery, EventRow, JournalReader, PastEvent


# The journal that `bear-alarm events` asks, and what to say where there is nothing.


log = logging.getLogger(__name__)

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Kind(StrEnum):
    """Name the kinds of events."""

    bear = "bear"
    camera = "camera"
    health = "health"


def chosen(state: Path | None, ids: list[str]) -> list[PastEvent]:
    """Return the happenings these ids name, each once. Raises OptionError."""
    with opened(state, needed=True) as journal:
        assert journal
        found = {one.id: one for one in map(journal.find, ids)}
    return list(found.values())


@contextmanager
def opened(state: Path | None, *, needed: bool = False) -> Iterator[JournalReader | None]:
    """Yield the journal; None, with a message, if there is none yet and no folder was named.

    Raises OptionError where one is needed, and JournalReadError.
    """
    from edge.record.history import JournalReader, NoJournalError

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
        words = (
            f"nothing was recorded yet: {folder} holds no journal{hint}. `bear-alarm watch` keeps one of live cameras; "
            "the demo and clips leave their pictures in ./evidence, and are recorded here "
            "only with --state, a config or a channel over a network"
        )
        if needed:
            raise OptionError(words) from None
        log.info("%s.", words[0].upper() + words[1:])
        yield None
        return
    with journal:
        yield journal


def seen(path: Path) -> bool:
    """Return True if this user can see the file."""
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
    """Refuse a camera of which nothing was ever told. Raises OptionError."""
    names = journal.cameras() if camera else []
    if names and camera not in names:
        near = get_close_matches(camera or "", names, n=1)
        which = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
        raise OptionError(f"--camera {camera!r}: no such camera in the journal; {which}")


def nothing(journal: JournalReader, kind: Kind | None, camera: str | None, after: datetime | None) -> str:
    """Return one sentence where nothing was found: what was looked for, and what there is."""
    asked = f" of kind {kind.value}" if kind else ""
    asked += f" from camera {camera}" if camera else ""
    asked += f" since {after.astimezone():%Y-%m-%d %H:%M}" if after else ""
    newest = journal.incidents(limit=1)
    if not newest:
        return "Nothing has happened yet: the journal is there and holds no event."
    last = newest[0].first
    return f"No event{asked}; the last one of all was on {last.at.astimezone():%Y-%m-%d at %H:%M} ({last.event.kind})."


MAX_LISTED = 50  # happenings listed unless more are asked for


class Group(TyperGroup):
    """Says what to do with an id that stands where ``show``, ``lock``, ``review`` or another command belongs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command the words name, or a usage error that suggests the right one."""
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
        help=f"Folder the alarm keeps its journal in (default: the config's, ${ENVIRONMENT} or this user's own).",
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
    """List what happened, one line each, the newest last: bears, cameras that failed, the alarm's own problems.

    It works while the alarm runs. Times are local; ~ and ? mark those of a clock that was not set.
    """
    ctx.obj = state = state or settings_at_hand().state
    if ctx.invoked_subcommand:
        if since or kind or camera or limit is not None or unreviewed or as_json:
            name = ctx.invoked_subcommand
            raise OptionError(f"options stand behind the command they belong to: events {name} …")
        return

    if unreviewed and kind not in (None, Kind.bear):
        raise OptionError(f"--unreviewed --kind {kind.value}: only bears are reviewed; leave --kind out")
    kind = Kind.bear if unreviewed else kind
    after = parse_since(since)
    most = limit if limit is not None else 0 if as_json else MAX_LISTED
    folder, shown, more = state_folder(state), [], False
    with opened(state) as journal:
        if journal:
            check_camera(journal, camera)
            found = journal.incidents(
                kind=kind, camera=camera, since=after, limit=0 if unreviewed else most and most + 1
            )
            if not found:
                log.info("%s", nothing(journal, kind, camera, after))
            shown = [(each, evidence(each, folder)) for each in found]
    if unreviewed:
        before, shown = shown, [each for each in shown if waits(*each)]
        if before and not shown:
            log.info("Nothing waits: every bear whose pictures are there is reviewed.")
    if most and len(shown) > most:
        more, shown = True, shown[-most:]
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
    found = chosen(state or ctx.obj, [id_])[0]
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
        typer.Argument(metavar="[ID…]", help="Events' ids, their beginnings, or last (default: all since --since)."),
    ] = None,
    since: SinceOpt = None,
    kind: KindOpt = None,
    camera: CameraOpt = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    state: StateOpt = None,
) -> None:
    """Put events with their pictures and clips into one zip, to hand on."""
    if bool(ids) == bool(since):
        raise OptionError("which events? name their ids, or --since for all from then on (one of the two)")
    if ids and (kind or camera):
        raise OptionError("--kind and --camera go with --since; the ids already say which events")
    if ids:
        found = chosen(state or ctx.obj, ids)
    else:
        after = parse_since(since)
        with opened(state or ctx.obj, needed=True) as journal:
            assert journal
            check_camera(journal, camera)
            found = journal.incidents(kind=kind, camera=camera, since=after)
            if not found:
                raise OptionError(nothing(journal, kind, camera, after))
    words = readme(found, datetime.now(UTC))
    kept, gone = pack(found, state_folder(state or ctx.obj), out, words, force=force)
    log.info("%s: %s with %s of evidence.", out, counted(len(found), "event"), counted(kept, "file"))
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
    by: Annotated[str | None, typer.Option(help="Who says so (default: this user).")] = None,
    state: StateOpt = None,
) -> None:
    """Say what it was, for the next model to learn from (`bear-alarm feedback import`)."""
    said = reviewed(label, box, by, note, confirmed=confirmed, wrong=wrong, unsure=unsure)
    units, ids = units_of(what)
    review_all(units, chosen(state or ctx.obj, ids) if ids else [], state_folder(state or ctx.obj), said)


def _keep(ctx: typer.Context, ids: list[str], state: Path | None, *, wanted: bool) -> None:

    for found in chosen(state or ctx.obj, ids):
        keep(found, state_folder(state or ctx.obj), wanted=wanted)
        print(f"{named(found)}: {'locked, and never cleared away' if wanted else 'no longer locked'}")


# The evidence of what happened: where it lies, whether it is still there, and how it is handed out as one file.


PACKED = frozenset({".jpg", ".jpeg", ".png", ".mp4"})  # squeezing them again gains nothing
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Kept:
    """One folder of evidence."""

    folder: Path
    there: bool  # False: cleared away to make room, or never written
    locked: bool  # never cleared away
    closed: str | None = None  # why it cannot be looked at

    def files(self) -> list[Path]:
        """Return what lies in it, the mark that locks it left out."""
        if not self.there:
            return []
        found = (path for path in self.folder.iterdir() if path.name != "keep" and not path.name.startswith("."))
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    def path(self) -> list[Any]:
        """Return where the animal was (event.json): seconds from the alarm, box_xywh, bear probability; or empty."""
        try:
            found = json.loads((self.folder / "event.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        path = found.get("path") if isinstance(found, dict) else None
        return [step for step in path if isinstance(step, list) and len(step) >= 5] if isinstance(path, list) else []


def evidence(incident: PastEvent, state: Path) -> list[Kept]:
    """Return the folders in which its evidence lies or lay, in order; none where none was to be kept."""
    named = dict.fromkeys(told.event.evidence for told in incident.events if told.event.evidence)
    kept: dict[Path, Kept] = {}
    for path in named:
        folder = state / Path(path).parent
        try:
            folder = _found(Path(path), state).parent
            kept.setdefault(folder, _looked_at(folder))
        except OSError as error:
            kept.setdefault(folder, Kept(folder, False, False, error.strerror or type(error).__name__))
    return list(kept.values())


def _looked_at(folder: Path) -> Kept:
    """Return what this user sees of it. Raises OSError where that is nothing."""
    from edge.record.media_store import locked

    if not folder.is_dir():
        return Kept(folder, False, False)
    next(folder.iterdir(), None)
    return Kept(folder, True, locked(folder))


def _found(path: Path, state: Path) -> Path:
    """Return where a file of evidence lies now, also of a card that is read in another machine."""
    named = state / path  # as it is where it is absolute
    ends = [path.parts[at:] for at, part in enumerate(path.parts) if part == "evidence"]
    moved = [state.joinpath(*parts) for parts in ends]
    return next((each for each in (named, path.absolute(), *moved) if each.exists()), named)


def keep(incident: PastEvent, state: Path, *, wanted: bool) -> int:
    """Lock its evidence, or let it go again; how many folders that were. Raises OptionError."""
    from edge.record.media_store import lock, unlock

    found = evidence(incident, state)
    _refuse_closed(found)
    there = [kept.folder for kept in found if kept.there]
    if not there:
        raise OptionError(f"{incident.id[:8]}: has no evidence (any more), so there is nothing to keep")
    for folder in there:
        (lock if wanted else unlock)(folder)
    return len(there)


def _refuse_closed(found: Sequence[Kept]) -> None:
    """Check that each of them can be read. Raises OptionError."""
    for kept in found:
        if kept.closed:
            raise OptionError(f"{kept.folder}: this evidence cannot be looked at ({kept.closed})")


def pack(incidents: Sequence[PastEvent], state: Path, out: Path, words: str, *, force: bool) -> tuple[int, int]:
    """Write a zip of events and evidence, whole or not at all; return how many files it has and how many are gone.

    ``words`` becomes its README.txt. Raises OptionError, also where ``out`` is there and ``force`` is not.
    """
    if out.is_dir():
        raise OptionError(f"--out {out}: is a folder; name the file in it, like {out / 'events.zip'}")
    if out.exists() and not force:
        raise OptionError(f"--out {out}: is there already; name another file, or replace it with --force")
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            counts = _write(file, incidents, state, words)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        raise OptionError(f"--out {out}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return counts


def _write(file: Any, incidents: Sequence[PastEvent], state: Path, words: str) -> tuple[int, int]:
    kept = gone = 0
    # A clock that was never set stamps files with 1970, which a zip cannot say.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as made:
        made.writestr("events.jsonl", "".join(f"{told.line}\n" for each in incidents for told in each.events))
        for each in incidents:
            for path, name in _named(each, state):
                try:
                    _add(made, path, name)
                    kept += 1
                except FileNotFoundError:  # cleared away meanwhile
                    gone += 1
        left = f"\n{gone} files of evidence were cleared away while this was written.\n" if gone else ""
        made.writestr("README.txt", words + left)
    return kept, gone


def _named(incident: PastEvent, state: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of its evidence with its name in the zip."""
    camera = "".join(each if each.isalnum() or each in "-_." else "_" for each in incident.first.event.camera)
    folder = f"evidence/{incident.first.at:%Y-%m-%d-%H%M%S}-{camera}-{incident.id[:8]}"
    found = evidence(incident, state)
    _refuse_closed(found)
    several = [each for each in found if each.there]
    for number, kept in enumerate(several, 1):
        own = folder if len(several) == 1 else f"{folder}/{number}"
        yield from ((path, f"{own}/{path.name}") for path in kept.files())


def _add(made: zipfile.ZipFile, path: Path, name: str) -> None:
    """Add one file, if it is still there. Raises OptionError if it cannot be read."""
    try:
        source = path.open("rb")
        info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    info.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in PACKED else zipfile.ZIP_DEFLATED
    with source, made.open(info, "w") as target:
        while block := _block(source, path):
            target.write(block)


def _block(source: BinaryIO, path: Path) -> bytes:
    try:
        return source.read(BLOCK_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> OptionError:
    return OptionError(f"{path}: this evidence cannot be read ({error.strerror or error})")


# What a person says of events and random negatives, for the next model to learn from.


REVIEWED = "reviewed: "


def verdict_of(*, confirmed: bool, wrong: bool, unsure: bool, label: str | None) -> Verdict:
    """Return the one that was chosen. Raises OptionError unless it is one."""
    chosen: dict[Verdict, bool] = {
        "confirmed": confirmed, "wrong": wrong, "unsure": unsure, "relabelled": label is not None
    }  # fmt: skip
    names = [name for name, given in chosen.items() if given]
    if len(names) != 1:
        raise OptionError("what was it? give one of --confirmed, --wrong, --label NAME, --unsure")
    return names[0]


def reviewed(
    label: str | None, box: str | None, by: str | None, note: str | None, *, confirmed: bool, wrong: bool, unsure: bool
) -> Review:
    """Return the review, as of now. Raises OptionError where a part of it makes no sense."""
    verdict = verdict_of(confirmed=confirmed, wrong=wrong, unsure=unsure, label=label)
    label = None if label is None else re.sub(r"[\s-]+", "_", label.strip().lower())
    try:
        return Review(verdict, utc_text(datetime.now(UTC)), label, by or _user(), note or "", _box(box))
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"this review makes no sense: {error}") from None


def units_of(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Paths of evidence (an event's folder, a file in it, a random negative) among the words; the others are ids.

    Raises OptionError for a path at which there is no evidence.
    """
    units: dict[Path, None] = {}
    ids: list[str] = []
    for word in words:
        path = Path(word)
        if not (os.sep in word or path.suffix or path.is_dir()):
            ids.append(word)
            continue
        folder = path if path.is_dir() else path.parent
        if SAMPLE.fullmatch(path.name) and path.is_file():
            units[path] = None
        elif (folder / "event.json").is_file() and path.exists():
            units[folder] = None
        else:
            raise OptionError(f"{word}: no evidence there; give an event's id, its folder, or a random negative's file")
    return list(units), ids


def review_all(units: Sequence[Path], incidents: Sequence[PastEvent], state: Path, review: Review) -> None:
    """Write the review for each path and happening. Raises OptionError where one has no evidence (any more).

    An alarm that runs hears of it through the journal in ``state``.
    """
    from edge.record.journal_reviews import pass_on

    found: list[tuple[str, list[Path]]] = [(str(unit), [unit]) for unit in units]
    for incident in incidents:
        kept = evidence(incident, state)
        closed = next((each for each in kept if each.closed), None)
        if closed:
            raise OptionError(f"{closed.folder}: this evidence cannot be looked at ({closed.closed})")
        there = [each.folder for each in kept if each.there]
        if not there:
            raise OptionError(f"{incident.id[:8]}: has no evidence (any more), so there is nothing to review")
        found.append((named(incident), there))
    for name, places in found:
        for place in places:
            write_review(place, review)
        print(f"{name}: {words_of(review)}")
    ids = [each.id for each in incidents] + [id_ for unit in units if (id_ := _event_of(unit))]
    if ids and (why := pass_on(state, ids, review)):
        log.warning("The review is saved, but the running alarm does not get it: %s.", why)


def _event_of(unit: Path) -> str | None:
    """Return the id of the event whose folder this is; None for a random negative, or where it cannot be read."""
    try:
        found = json.loads((unit / "event.json").read_bytes())
    except (OSError, ValueError):
        return None
    id_ = found.get("id") if isinstance(found, dict) else None
    return id_ if isinstance(id_, str) else None


def decided(incident: PastEvent, kept: Sequence[Kept]) -> Review | None:
    """Return the last review: the file beside the evidence, else the journal's row."""
    found = [incident.review] if incident.review else []
    for each in kept:
        try:
            review = read_review(each.folder) if each.there else None
        except OptionError as error:
            log.warning("%s", error)
            continue
        found += [review] if review else []
    return max(reversed(found), key=lambda review: review.at, default=None)


def words_of(review: Review) -> str:
    """``reviewed: no bear``."""
    what = {"confirmed": "a bear", "wrong": "no bear", "unsure": "nobody can tell"}
    label = (review.label or "").replace("_", " ")
    return f"{REVIEWED}{what.get(review.verdict, label)}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a service's user may have no name
        return ""


def _box(words: str | None) -> BoxXYWH | None:
    if words is None:
        return None
    try:
        x, y, w, h = (float(side) for side in words.split(","))
    except ValueError:
        raise OptionError(
            f"--box {words!r}: give x,y,width,height as fractions of the frame: 0.4,0.5,0.1,0.2"
        ) from None
    return x, y, w, h


# What happened, one line a happening: the list that ``bear-alarm events`` prints.


ID = 8  # characters of an id that are shown
WIDEST_CAMERA = 16  # characters
MAX_TROUBLE = 48  # characters of what was wrong
MIN_NOTES = 40  # characters a line must leave for notes that take several lines; else they come below it
MARKS: dict[Clock, str] = {"corrected": "~", "doubtful": "?"}
LEGEND = {
    "~": "~ the clock was set only later: the time is corrected by what it had been wrong.",
    "?": "? the clock was not synchronised, so the time may be wrong.",
}


def listed(found: Sequence[tuple[PastEvent, list[Kept]]]) -> str:
    """Return one line a happening below the day it began on, the newest last, as wide as the terminal."""
    wide = max(60, min(120, shutil.get_terminal_size().columns))
    cameras = {incident.first.event.camera for incident, _ in found}
    alone = f", {cameras.pop()}" if len(cameras) == 1 else ""
    heads = [_head(incident, named=not alone) for incident, _ in found]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    lines: list[str] = []
    day = ""
    for (incident, kept), head in zip(found, heads, strict=True):
        today = f"{incident.first.at.astimezone():%A %Y-%m-%d}"
        if today != day:
            day = today
            lines += [*([""] if lines else []), day + alone]
        cells = [cell.ljust(width) for cell, width in zip(head, widths, strict=True)]
        lines += beside("  " + "  ".join([*cells[:-1], head[-1].rjust(widths[-1])]), _notes(incident, kept), wide)
    return "\n".join([*lines, *legend((incident.first for incident, _ in found), wide)])


def legend(told: Iterable[EventRow], wide: int) -> list[str]:
    """Return what the marks behind the times mean, as far as there are any, after an empty line."""
    marks = sorted({MARKS[each.clock] for each in told if each.clock in MARKS})
    lines = [line for mark in marks for line in textwrap.wrap(LEGEND[mark], wide, subsequent_indent="  ")]
    return ["", *lines] if lines else []


def _head(incident: PastEvent, *, named: bool) -> list[str]:
    """Return the columns of a line: time, id, camera (where it is to be ``named``), what, how long."""
    camera = incident.first.event.camera
    if len(camera) > WIDEST_CAMERA:
        camera = f"{camera[: WIDEST_CAMERA - 1]}…"
    lasted = "" if incident.lasted_s is None else lasting(incident.lasted_s)
    return [clock(incident.first), incident.id[:ID], *([camera] if named else []), what(incident), lasted]


def what(incident: PastEvent) -> str:
    """Return what it was: "brown bear 0.98", "camera gone", "health mqtt"."""
    label = (incident.label or "").replace("_", " ")
    if incident.first.event.kind != "bear":
        return f"{incident.first.event.kind} {label}".rstrip()
    score = incident.top_score
    return (label or "bear") + ("" if score is None else f" {score:.2f}")


def named(incident: PastEvent) -> str:
    """Return which one it is: "3f9c41aa (brown bear 0.98 at yard, 2026-11-24 03:12:07)"."""
    first = incident.first
    mark = MARKS.get(first.clock, "")
    when = f"{first.at.astimezone():%Y-%m-%d %H:%M:%S}{mark}"
    return f"{incident.id[:ID]} ({what(incident)} at {first.event.camera}, {when})"


def _notes(incident: PastEvent, kept: Sequence[Kept]) -> str:
    """Return what else there is to say of it on its line."""
    notes = [note for note in (_trouble(incident), unfinished(incident)) if note]
    notes += [f"in {' and '.join(incident.zones)}"] if incident.zones else []
    notes += ["no noise"] if _silent(incident) else []
    if kept:
        closed = any(each.closed for each in kept)
        how = "" if any(each.there for each in kept) else " closed to this user" if closed else " gone"
        notes += [f"pictures{how}"]
        notes += ["locked"] if any(each.locked for each in kept) else []
    if review := decided(incident, kept):
        notes.append(words_of(review))
    by_state = [state for state, _ in deliveries(incident).values()]
    words = (("done", "told"), ("waiting", "waiting"), ("parked", "refused"))
    notes += [f"{count} {word}" for state, word in words if (count := by_state.count(state))]
    return ", ".join(notes)


def waits(incident: PastEvent, kept: Sequence[Kept]) -> bool:
    """Return True for a bear event that has evidence and no review yet."""
    there = incident.first.event.kind == "bear" and any(each.there or each.closed for each in kept)
    return there and decided(incident, kept) is None


def unfinished(incident: PastEvent) -> str:
    """Return how it stands where it has no end: a trouble lasts after an alarm that ended, a bear is seen no more."""
    trouble = incident.first.event.kind in {"camera", "health"}
    if incident.state == "over":
        return ""
    return "still open at the end" if trouble and incident.state == "cut off" else incident.state


def _trouble(incident: PastEvent) -> str:
    """Return what was wrong with a part of the alarm, in a few words; empty for all else."""
    event = incident.first.event
    if event.kind != "health" or not event.detail:
        return ""
    words = event.detail.removeprefix(event.label or "").lstrip(": ")
    return textwrap.shorten(re.split(r" \(|; ", words)[0].rstrip("."), MAX_TROUBLE, placeholder=" …")


def _silent(incident: PastEvent) -> bool:
    """Return True if a bear made no noise, as outside the schedule."""
    return incident.first.event.kind == "bear" and not any(told.event.alarms for told in incident.events)


def deliveries(incident: PastEvent) -> dict[str, tuple[str, list[Delivery]]]:
    """By channel, each delivery and the worst state of its words: parked, waiting, done.

    A late picture is no worry.
    """
    by_channel: dict[str, list[Delivery]] = {}
    for each in incident.deliveries:
        by_channel.setdefault(each.channel, []).append(each)
    stands = {}
    for channel, rows in by_channel.items():
        states = {each.state for each in rows if each.part == "word"}
        stands[channel] = next((state for state in ("parked", "waiting") if state in states), "done"), rows
    return stands


def beside(line: str, notes: str, wide: int) -> list[str]:
    """Return the notes behind the line, or where little room is left below it."""
    line = line.rstrip() if not notes else line
    room = wide - len(line) - 2
    if not notes or len(notes) <= room:
        return [f"{line}  {notes}".rstrip()]
    if room >= MIN_NOTES:
        first, *rest = textwrap.wrap(notes, room)
        return [f"{line}  {first}", *(" " * (len(line) + 2) + more for more in rest)]
    return [line.rstrip(), *textwrap.wrap(notes, wide, initial_indent=" " * 12, subsequent_indent=" " * 12)]


def clock(told: EventRow) -> str:
    """Return the time of day, local, with its mark where the clock was not right."""
    return f"{told.at.astimezone():%H:%M:%S}{MARKS.get(told.clock, '')}"


def moment(told: EventRow) -> str:
    """Day and time, local, with how far that is from UTC, and its mark where the clock was not right."""
    return local(told.at) + MARKS.get(told.clock, "")


def local(at: datetime) -> str:
    """Return a time (with its zone) as ``2026-11-24 04:12:07+01:00``, in this place's zone."""
    return at.astimezone().isoformat(" ", "seconds")


def size(path: Path) -> str:
    """Return how large a file is; "gone" where it went meanwhile."""
    try:
        count = path.stat().st_size
    except OSError:
        return "gone"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(count / 1e3, 0.1):.1f} kB"


# All there is to say of one happening, in words and as JSON, and the page that goes with what is exported.


MAX_PLACES = 6  # of the way, in words


def shown(incident: PastEvent, kept: Sequence[Kept]) -> str:
    """Return all there is to say of one happening."""
    first = incident.first.event
    lines = [f"{incident.id}  {first.kind}, {first.camera}", ""]
    lasted = "" if incident.lasted_s is None else f", lasted {lasting(incident.lasted_s)}"
    ended = f", {words}" if (words := unfinished(incident)) else ""
    lines += _row("when", moment(incident.first) + lasted + ended)
    lines += _row("what", what(incident) + (f", by {first.model}" if first.model else ""))
    lines += _row("zones", ", ".join(incident.zones)) if incident.zones else []
    lines += _row("review", _review(review)) if (review := decided(incident, kept)) else []
    for each in kept:
        lines += ["", *_row("evidence", _state(each))]
        lines += [f"{'':12}{path.name}, {size(path)}" for path in each.files()]
        lines += _row("way", way(each.path())) if each.path() else []
    lines += ["", "Events"]
    for told in incident.events:
        lines += beside(f"  {moment(told)}  {told.event.type:<7}", _event(told), _wide())
    if incident.deliveries:
        lines += ["", "Deliveries"]
    seen = {told.event.seq: told for told in incident.events}
    for channel, (_, rows) in deliveries(incident).items():
        at_once = [row for row in rows if row.state == "done" and row.attempts <= 1]
        lines += beside(f"  {channel}", _at_once(at_once), _wide())
        rest = [row for row in rows if row not in at_once]
        lines += [line for row in rest for line in beside(f"    {_of(row, seen)}", _delivery(row), _wide())]
    return "\n".join([*lines, *legend(incident.events, _wide())])


def way(path: Sequence[Sequence[float]]) -> str:
    """Return where it went: where in the picture it was at the beginning, at some places between, and at the end."""
    from edge.cli.why import place

    steps = sorted({round(at * (len(path) - 1) / MAX_PLACES) for at in range(MAX_PLACES + 1)})
    places = [place((x, y, w, h)) for x, y, w, h in (path[at][1:5] for at in steps)]
    places = [each for at, each in enumerate(places) if at == 0 or each != places[at - 1]]
    lasted = f"{path[-1][0] - path[0][0]:.0f} s"
    return f"{', then '.join(places)}; {lasted}" if len(places) > 1 else f"{places[0]} all the while; {lasted}"


def _review(review: Review) -> str:
    """Tell the review in words: verdict, person and time."""
    who = f", by {review.by}" if review.by else ""
    note = f": {review.note}" if review.note else ""
    return f"{words_of(review).removeprefix(REVIEWED)}{who}, {_local(review.at)}{note}"


def _state(kept: Kept) -> str:
    if kept.closed:
        return f"cannot be looked at ({kept.closed}): {kept.folder}"
    if not kept.there:
        return f"gone: cleared away to make room, or never written ({kept.folder})"
    return f"{kept.folder}{', locked' if kept.locked else ''}"


def _event(told: EventRow) -> str:
    """Return one event's line: how sure, where in the picture, and what was said."""
    event = told.event
    notes = [f"seq {event.seq}"]
    notes += [event.file] if event.file else []
    notes += [f"{event.media_time_s:.1f} s into the clip"] if event.media_time_s is not None and not event.file else []
    notes += [f"score {event.score:.2f}"] if event.score is not None else []
    if event.box_xywh is not None:
        left, top, w, h = (round(100 * side) for side in event.box_xywh)
        notes += [f"box {w} x {h} % at {left}, {top} %"]
    notes += [f"in {name}" for name in event.zones]
    notes += [f"alarms again ({event.escalated})"] if event.escalated else []
    notes += [f"no noise ({event.quiet})"] if event.quiet else []
    notes += [event.detail] if event.detail else []
    return ", ".join(notes)


def _at_once(rows: Sequence[Delivery]) -> str:
    """Return what was told at the first attempt, and when the last of it was."""
    counts = {part: sum(row.part == part for row in rows) for part in dict.fromkeys(row.part for row in rows)}
    parts = [counted(count, part) for part, count in counts.items()]
    last = max((row.settled_at for row in rows if row.settled_at), default="")
    return f"{' and '.join(parts)} told at the first attempt, the last {_local(last)}" if rows else ""


def _of(row: Delivery, seen: dict[int, EventRow]) -> str:
    """Return which part of which event a delivery is of."""
    told = seen.get(row.seq)
    return f"{moment(told) if told else ''} {told.event.type if told else '':<6} {row.part:<7}"


def _delivery(row: Delivery) -> str:
    """Return how a delivery stands."""
    tried = counted(row.attempts, "attempt")
    # The other side's words: what would move the cursor about is left out.
    why = f": {''.join(sign for sign in row.error if sign.isprintable())}" if row.error else ""
    if row.state == "done":
        return f"told {_local(row.settled_at)}, {tried}"
    if row.withdrawn:
        return f"withdrawn {_local(row.settled_at)}, {tried}{why}"
    if row.state == "parked":
        return f"REFUSED {_local(row.settled_at)}, {tried}, tried no more{why}"
    return f"waiting since {_local(row.queued_at)}, {tried}{why}"


def _local(text: str | None) -> str:
    """Return a time of the journal in local time; as it stands where it is none."""
    try:
        return local(datetime.fromisoformat(text or ""))
    except ValueError:
        return text or ""


def _row(name: str, words: str) -> list[str]:
    return textwrap.wrap(
        words, _wide(), initial_indent=f"{name:<12}", subsequent_indent=" " * 12, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _wide() -> int:
    return max(60, min(100, shutil.get_terminal_size().columns))


def facts(incident: PastEvent, kept: Sequence[Kept]) -> dict[str, Any]:
    """Return one happening ready for JSON; times are UTC."""
    first, last = incident.first, incident.last
    return {
        "id": incident.id,
        "kind": first.event.kind,
        "camera": first.event.camera,
        "label": incident.label,
        "top_score": incident.top_score,
        "began_at": utc_text(first.at),
        "ended_at": utc_text(last.at) if incident.state == "over" else None,
        "clock": first.clock,
        "lasted_s": incident.lasted_s,
        "state": incident.state,
        "zones": list(incident.zones),
        "review": None if (review := decided(incident, kept)) is None else asdict(review),
        "evidence": [
            {
                "folder": str(each.folder),
                "there": each.there,
                "closed": each.closed,
                "locked": each.locked,
                "files": [path.name for path in each.files()],
                "path": each.path(),
            }
            for each in kept
        ],
        "deliveries": [asdict(each) for each in incident.deliveries],
        "events": [json.loads(told.line) | {"at": utc_text(told.at)} for told in incident.events],
    }


def readme(found: Sequence[PastEvent], now: datetime) -> str:
    """Return what lies in an exported zip, as a text for its reader."""
    lines = [f"{moment(each.first)}  {each.id[:ID]}  {each.first.event.camera}  {what(each)}" for each in found]
    return "\n".join([
        f"Events of a bear alarm, handed out on {now.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}.",
        "",
        *lines,
        "",
        "events.jsonl  each event as it was recorded, one line of JSON each (`bear-alarm schema event` explains it);",
        "              captured_at is UTC by the device's clock of that moment",
        "evidence/     pictures and clips of each happening, as far as they were kept",
        "",
        "It is an aid, not a life-safety device.",
        "",
    ])  # fmt: skip
