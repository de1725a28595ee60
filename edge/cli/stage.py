"""``bear-alarm stage``: whom each camera's alarms reach and what it still needs, or another stage for one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.events.command import StateOpt
from edge.cli.options import ConfigOpt, target_of, user_name
from edge.cli.output import JsonOpt, counted, line_width, print_json, wrapped
from edge.decide.stages import MEANS, NOT_YET, STAGES, Place, Tally, at_start, chosen, stage_of
from edge.errors import ModelError, OptionError
from edge.record.database import NAME, DiskError
from edge.record.database import STAGES as WITH_STAGES
from edge.rollout import Standing, place_of, standing_of
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.cli.doctor.findings import Target
    from edge.decide.stages import StageEntry
    from edge.schema import Stage
    from edge.settings import Settings, StageSettings

log = logging.getLogger(__name__)

FROM_START = "from the alarm's next start on"
History = Sequence["StageEntry"]  # of one camera, the oldest first


def stage(
    camera: Annotated[str | None, typer.Argument(help="Show this camera alone, with its history.")] = None,
    to: Annotated[
        str | None, typer.Argument(metavar="[STAGE]", help="Set it: shadow, supervised or autonomous.")
    ] = None,
    config: ConfigOpt = None,
    state: StateOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Show each camera's stage: whom its alarms reach, and what the next stage still needs. Or set it.

    In shadow, bears are recorded and alarm nobody. Supervised, people are notified and noises wait for a yes.
    Autonomous, everything comes at once. A running alarm uses a new stage within some seconds.
    """
    target = target_of(config, state)
    found = _histories(target)
    places = _places(target, found)
    if camera is not None:
        camera = _named(camera, to, places)
    wanted = _stage_named(to) if to is not None else None
    labels = _alarm_labels(target)
    if camera is not None and wanted is not None:
        _set(target, places[camera], at_start(places[camera], found, places, datetime.now(UTC)), wanted, labels)
        if not as_json:
            return
        found = _histories(target)
    shown = places if camera is None else {camera: places[camera]}
    if not places:
        log.info("No camera has a stage: only those of a config have (`bear-alarm config init` writes one).")
    now = datetime.now(UTC)
    known = {name: each for name, place in shown.items() if (each := at_start(place, found, places, now))}
    watched = {name: _standing(target, shown[name], each, labels) for name, each in known.items()}
    for name in [each for each in shown if each not in watched]:
        log.info("Camera %s was not watched yet; it begins as %s.", name, places[name].configured or STAGES[-1])
    if as_json:
        uncounted = {"reviewed": None, "progress": None} if labels is None else {}
        cameras = [
            _facts(one) | uncounted | ({"history": [_entry(each) for each in known[name]]} if camera else {})
            for name, one in watched.items()
        ]
        print_json({"schema_version": 1, "kind": "stages", "cameras": cameras})
        return
    wide = max(map(len, watched), default=0)
    for name, one in watched.items():
        tally = one.tally if labels is not None else None
        past = _past(tally, known[name]) if camera else []
        print("\n".join([*_lines(one, target.settings.stages, wide), *past]))
    if any(one.progress.needs for one in watched.values()):
        log.info("%s", _where_to_review(target.settings))


def _named(camera: str, to: str | None, places: Mapping[str, Place]) -> str:
    """Return the camera that a person named, in capitals or not. Raises OptionError."""
    found = [camera] if camera in places else [each for each in places if each.lower() == camera.lower()]
    if len(found) == 1:
        return found[0]
    if stage := stage_of(camera):
        raise OptionError(f"the camera comes first: bear-alarm stage {to or next(iter(places), 'CAMERA')} {stage}")
    these = (
        f"these have: {', '.join(places)}" if places else "only cameras of a config have; see bear-alarm config init"
    )
    raise OptionError(f"no camera {camera!r} has a stage; {these}")


def _where_to_review(settings: Settings) -> str:
    from edge.record.recorder import NEGATIVES_PER_DAY

    if not settings.evidence.keep:
        return "Nothing can be reviewed, because no pictures are kept (record: off)."
    where, frames = "bear-alarm events --unreviewed lists what to review", settings.evidence.negatives_per_day
    if settings.page.listen:
        from edge.page.serving import addresses_of

        where = f"Review at {addresses_of(settings.page)[0]}/review"
    return (
        f"{where}; about {NEGATIVES_PER_DAY if frames is None else frames:g} random frames come a day, of each camera."
    )


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    try:
        yield
    except (DiskError, OSError) as error:
        what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        raise OptionError(f"{what}; try it again, with sudo where it belongs to another user") from None


def _histories(target: Target) -> Mapping[str, History]:
    """Return the entries of each camera in the journal, the oldest first; none before the config's first start.

    Raises OptionError or JournalReadError without a config, or for a journal that cannot be read.
    """
    from edge.record.history import NoJournalError, ReadOnly
    from edge.record.stage_log import read_stages

    path = target.state / NAME
    try:
        with ReadOnly(path) as journal:
            version = journal.version
    except NoJournalError:
        if target.config and not target.given_state:
            return {}
        raise OptionError(
            f"{path}: there is no journal; start the alarm once, or name yours with --config or --state"
        ) from None
    if version < WITH_STAGES:
        raise OptionError(
            f"{path}: an older Bear Alarm made this journal, without stages; start the alarm with this one first"
        )
    with _in_one_sentence():
        return read_stages(target.state)


def _places(target: Target, found: Mapping[str, History]) -> dict[str, Place]:
    """Return the config's cameras that have stages; without such a config, those of the journal."""
    named = {each.name: place_of(each, "") for each in target.settings.cameras if each.stage is not None}
    last = {name: history[-1] for name, history in found.items()}
    return named or {name: Place(name, entry.source, entry.configured) for name, entry in last.items()}


def _alarm_labels(target: Target) -> Sequence[str] | None:
    """Return the labels of the model that raise the alarm; None, and a warning, where it cannot be read."""
    from edge.detect.classifier import load

    try:
        return load(target.settings.model, target.state).card.alarm_labels
    except ModelError as error:
        log.warning("Reviews are not counted, because the model cannot be read: %s", error)
        return None


def _standing(target: Target, place: Place, history: History, labels: Sequence[str] | None) -> Standing:
    """Return how a camera stands, its reviews counted where there are ``labels``. Raises OptionError."""
    from edge.record.stage_log import count_reviews

    now, tally = datetime.now(UTC), Tally()
    if labels is not None and history[-1].after != NOT_YET:
        evidence = target.evidence if target.settings.evidence.keep else None
        with _in_one_sentence():
            tally = count_reviews(target.state, evidence, history[-1], now, labels)
    one = standing_of(history, place, tally, target.settings.stages.goal, now)
    return one if labels is not None else replace(one, progress=replace(one.progress, next=None, needs=(), reviews=0))


def _stage_named(word: str) -> Stage:
    """Return the stage that a person named. Raises OptionError."""
    if to := stage_of(word):
        return to
    near = get_close_matches(word.lower(), STAGES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "give one of them"
    raise OptionError(f"stage {word!r} is none of {', '.join(STAGES)}; {hint}")


def _set(target: Target, place: Place, history: History, to: Stage, labels: Sequence[str] | None) -> None:
    """Write the stage that a person chose, then warn where it is not earned. Raises OptionError."""
    from edge.record.stage_log import write_stage

    if not history:
        raise OptionError(f"camera {place.name} was not watched yet; write `stage: {to}` for it in the config")
    last = history[-1]
    if last.stage == to and last.after != NOT_YET:
        log.info("Camera %s is %s already; nothing was changed.", place.name, to)
        return
    now = datetime.now(UTC)
    with _in_one_sentence():
        entry = chosen(last, to, user_name() or "somebody", now, NOT_YET).entry
        write_stage(target.state, entry)
    words = standing_of([*history, entry], place, Tally(), target.settings.stages.goal, now).words
    where = "in " if to == "shadow" else ""
    log.info("Camera %s is now %s%s. A running alarm uses it within some seconds.", place.name, where, words)
    if labels is None or STAGES.index(to) <= STAGES.index(last.stage):
        return
    way = _standing(target, place, history, labels).progress
    if way.needs:
        log.warning("It has not earned that: %s needs %s.", way.next, _needs(way.reviews, way.needs))
    elif way.next != to:
        log.warning("It has not earned that: %s comes first.", way.next)


def _needs(reviews: int, needs: Sequence[str]) -> str:
    return f"{counted(reviews, 'more review')} ({'; '.join(needs)})"


def _lines(one: Standing, settings: StageSettings, wide: int) -> list[str]:
    """Return the lines of one camera: stage, since, why, what it means, and what is needed."""
    entry, way = one.entry, one.progress
    began = f"{one.since.astimezone():%Y-%m-%d %H:%M}"
    head = f"{entry.camera:<{wide}}  {entry.stage:<10}  since {began}, {entry.why}"
    notes = [one.words if entry.stage == "shadow" else MEANS[entry.stage]]
    if entry.stage == "supervised":
        notes[0] += f"; {settings.unanswered_words}"
    if entry.after == NOT_YET:
        notes.append(FROM_START)
    if one.locked:
        notes.append("the alarm itself never takes it away (stage_lock)")
    if way.ready:
        notes.append(f"{way.next} is earned: bear-alarm stage {entry.camera} {way.next}")
    elif way.next:
        notes.append(f"for {way.next}: {_needs(way.reviews, way.needs)}")
    indent = " " * (wide + 2)
    return [head, *(line for note in notes for line in wrapped(note, line_width(), indent, f"{indent}  "))]


def _past(tally: Tally | None, history: History) -> list[str]:
    """Return what was reviewed since the stage began, if it was counted, and the stages, the newest first."""
    lines = [""]
    if tally:
        alarms = f"{tally.right} right, {tally.wrong} wrong, {tally.unsure} unsure, {tally.unreviewed} not reviewed"
        lines += [f"Alarms: {alarms}", f"Random frames reviewed: {tally.frames}, with a bear: {tally.missed}"]
        lines += [f"Bears reported as missed: {tally.reported}", ""]
    for entry in reversed(history):
        lines.append(f"{entry.at.astimezone():%Y-%m-%d %H:%M}  {entry.stage:<10}  {entry.why}, {entry.model}")
    return lines


def _facts(one: Standing) -> dict[str, Any]:
    """Return one camera ready for JSON; times are UTC, intervals 95 %."""
    way = one.progress
    found = _entry(one.entry) | {"since": utc_text(one.since), "means": one.words, "locked": one.locked}
    found |= {"from_next_start": one.entry.after == NOT_YET}
    found |= {"reminds_at": utc_text(one.reminds_at) if one.reminds_at else None}
    found |= {"reviewed": asdict(one.tally), "progress": asdict(way) | {"ready": way.ready}}
    return found


def _entry(entry: StageEntry) -> dict[str, Any]:
    names = ("camera", "stage", "why", "by", "model")
    return {name: getattr(entry, name) for name in names} | {"at": utc_text(entry.at)}
