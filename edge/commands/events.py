"""``bear-alarm events``: what happened, as the journal knows it; and its evidence, locked or handed out."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edge.commands.config_options import settings_at_hand
from edge.commands.events_journal import Kind, check_camera, chosen, moment, nothing, opened
from edge.errors import OptionError
from edge.files import ENVIRONMENT, state_folder

log = logging.getLogger(__name__)

MOST = 50  # happenings listed unless more are asked for


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
        int | None, typer.Option(min=0, help=f"Only so many, the newest; 0 for all (default: {MOST}; in JSON, all).")
    ] = None,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Only bears that wait for `events review`, with pictures to look at.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """List what happened, one line each, the newest last: bears, cameras that failed, tests.

    It works while the alarm runs. Times are local; ~ and ? mark those of a clock that was not set.
    """
    ctx.obj = state = state or settings_at_hand().state
    if ctx.invoked_subcommand:
        if since or kind or camera or limit is not None or unreviewed or as_json:
            name = ctx.invoked_subcommand
            raise OptionError(f"options stand behind the command they belong to: events {name} …")
        return
    from edge.commands.events_files import evidence
    from edge.commands.events_story import facts
    from edge.commands.events_words import listed, waits

    if unreviewed and kind not in (None, Kind.bear):
        raise OptionError(f"--unreviewed --kind {kind.value}: only bears are reviewed; leave --kind out")
    kind = Kind.bear if unreviewed else kind
    after = moment(since)
    most = limit if limit is not None else 0 if as_json else MOST
    folder, shown, more = state_folder(state), [], False
    with opened(state) as journal:
        if journal:
            check_camera(journal, camera)
            found = journal.happenings(
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
    from edge.commands.events_files import evidence
    from edge.commands.events_story import facts, shown

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
    from edge.commands.events_files import pack
    from edge.commands.events_story import readme

    if bool(ids) == bool(since):
        raise OptionError("which events? name their ids, or --since for all from then on (one of the two)")
    if ids and (kind or camera):
        raise OptionError("--kind and --camera go with --since; the ids already say which events")
    if ids:
        found = chosen(state or ctx.obj, ids)
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
    by: Annotated[str | None, typer.Option(help="Who says so (default: this user).")] = None,
    state: StateOpt = None,
) -> None:
    """Say what it was, for the next model to learn from (`bear-alarm feedback import`)."""
    from edge.commands.events_review import review_all, reviewed, units_of

    said = reviewed(label, box, by, note, confirmed=confirmed, wrong=wrong, unsure=unsure)
    units, ids = units_of(what)
    review_all(units, chosen(state or ctx.obj, ids) if ids else [], state_folder(state or ctx.obj), said)


def _keep(ctx: typer.Context, ids: list[str], state: Path | None, *, wanted: bool) -> None:
    from edge.commands.events_files import keep
    from edge.commands.events_words import named

    for found in chosen(state or ctx.obj, ids):
        keep(found, state_folder(state or ctx.obj), wanted=wanted)
        print(f"{named(found)}: {'locked, and never cleared away' if wanted else 'no longer locked'}")
