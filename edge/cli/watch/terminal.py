"""Print for ``watch``: its beginning, each event as one line, and its end."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.events import UNKNOWN
from edge.cli.options import other_stage
from edge.cli.output import counted
from edge.config import find_config
from edge.local_time import clock, lasting
from edge.schema import Event

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.camera import Source
    from edge.detect.classifier import Classifier
    from edge.detect.frame_rate import LoopStats
    from edge.rollout import Rollout
    from edge.settings import Settings
    from edge.watch import Watcher

log = logging.getLogger(__name__)

OVER = "over after"  # how the detail of a trouble that is over begins; one that ends with the watching has another

AN_AID = "An aid, not a life-safety device."
MIN_LOST_S = 1.0  # without a picture: less is not worth a line
Write = Callable[..., None]  # log.info, or log.debug with --quiet


class Terminal:
    """Prints each event as a line; ``pictures`` are those of the first alarms.

    ``waits`` says what the noises of a supervised camera's alarm wait for.
    """

    def __init__(self) -> None:
        self.pictures: list[str] = []
        self.waits: Callable[[Event], str] = lambda event: ""

    def __call__(self, event: Event) -> None:
        """Print it, as a warning where somebody is wanted."""
        wrong = event.alarms or (event.kind != "bear" and event.type == "new")
        log.log(logging.WARNING if wrong else logging.INFO, "%s", alert(event, self.waits))
        if event.alarms and event.evidence and len(self.pictures) < 2:
            self.pictures.append(event.evidence)


def alert(event: Event, waits: Callable[[Event], str] = lambda event: "") -> str:
    """Return one line for people: what, where, when by this place's clock, how sure, and where the picture lies.

    ``waits``: as ``Terminal.waits``.
    """
    when = f"{event.media_time_s or 0.0:.1f} s"
    if event.media_time_s is None:
        when = clock(datetime.fromisoformat(event.captured_at), date=False)
    detail = (event.detail or "").rstrip(".")
    if event.kind != "bear":
        # A camera's detail begins with its name, as the line does.
        what = detail.removeprefix(f"{event.camera}: ").removeprefix(f"camera {event.camera}").lstrip(": ")
        where = "" if event.kind == "test" else "the alarm itself " if event.kind == "health" else f"{event.camera} "
        what = what or ("this is only a test" if event.kind == "test" else "something is wrong")
        return f"{_head(event)}  {where}at {when}: {what}"
    if event.type == "end":
        unseen = detail and not detail.startswith(UNKNOWN)
        what = detail if unseen else f"{event.name_and_note[0]} no longer in view"
        return f"{event.camera} at {when}: {what} (highest score {event.top_score or 0.0:.2f})"
    alarm = event.type == "new" or event.escalated
    score = event.score or 0.0
    words = [f"{event.animal} {score:.2f}" if alarm else f"same bear, still there ({score:.2f})"]
    words += [f"first seen {event.onset_s:.1f} s before"] if event.type == "new" and event.onset_s is not None else []
    words += [event.file] if event.file else []
    words += [*(f"in {name}" for name in event.zones), *([f"no noise: {event.quiet}"] if event.quiet else [])]
    if alarm and event.stage == "shadow":
        words.append("in shadow: nobody is notified")
    elif event.alarms and event.stage == "supervised":
        words += [waited] if (waited := waits(event)) else []
    words += [detail] if detail else []
    words += [from_here(Path(event.evidence))] if event.evidence else []
    return f"{f'{_head(event)}  ' if alarm else ''}{event.camera} at {when}: {', '.join(words)}"


def from_here(path: Path) -> str:
    """Return the path as it is typed here: short where it lies below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _head(event: Event) -> str:
    """Return the first words of an alert: capitals where somebody is wanted, red for an alarm."""
    over = (event.detail or "").startswith(OVER)
    ends = {"camera": "camera well again" if over else "camera", "health": "well again"}
    if event.kind == "bear":
        head = f"BEAR again ({event.escalated})" if event.escalated else "BEAR"
    elif event.type == "end":
        head = ends.get(event.kind, event.kind)
    elif event.type == "update":
        head = f"still {event.kind}"
    else:
        head = {"camera": "CAMERA", "health": "PROBLEM", "test": "TEST", "notice": "NOTICE"}[event.kind]
    if event.alarms and sys.stderr is not None and sys.stderr.isatty():
        return f"\033[1;31m{head}\033[0m"
    return head


def waiting(alarm: Alarm, event: Event) -> str:
    """Return what the noises of an alarm wait for, for how long, and where to answer; empty if nothing was asked."""
    question = alarm.alerting.confirmations.of_event(event.id) if alarm.alerting else None
    if question is None:
        return ""
    words = question.words(time.monotonic())
    return f"noises wait for a yes: {words}; {answered(alarm.settings)}" if question.waits else words


def answered(settings: Settings) -> str:
    """Return where a supervised camera's alarm is answered, a clause."""
    page, mqtt, ways = settings.page, settings.alerts.mqtt, []
    if page.listen:
        from edge.page.serving import addresses_of

        ways.append(f"on the page ({addresses_of(page)[0]})")
    if mqtt and (mqtt.user or mqtt.tls):
        ways.append("over MQTT")
    return f"answer {' or '.join(ways)}" if ways else "nobody can answer: see docs/notifications.md"


def introduce(alarm: Alarm, write: Write, *, verbose: bool = False) -> None:
    """Print what is watched with which model, its licence and limits, and how fast the alarm can be at best."""
    from edge.camera import shown, source_name

    classifier = alarm.classifier
    places = []
    for thread in alarm.threads:
        word, name = shown(thread.camera.source), thread.camera.name
        places.append(word if name == source_name(thread.camera.source) else f"{name} ({word})")
    write("Watching %s for %s.", ", ".join(places), classifier.card.bear_means)
    if any(thread.source.slides for thread in alarm.threads):
        write("Pictures are played as a film, one a second; for single stills there is `bear-alarm classify`.")
    write("%s", model_line(classifier))
    rule, fps = alarm.threads[0].watcher.rule, alarm.threads[0].camera.settings.fps
    if any(thread.source.single_images for thread in alarm.threads):
        write("One picture with a score of %.2f or more raises the alarm. %s", rule.threshold, AN_AID)
        write("Pictures of one folder are compared: what differs from earlier visits is looked at closer.")
    else:
        frames = rule.frames_needed(1.0 / fps) or rule.frames_at_best
        at_best_s = max(rule.seconds_at_best, (frames - 1) / fps)
        about = "half a second" if at_best_s < 0.75 else f"{at_best_s:.1f} seconds"
        write("A clearly visible bear raises the alarm in about %s; one high score alone does not. %s", about, AN_AID)
        if verbose:
            write(
                "At best: %d scored frames or %.1f s, the later of the two.", rule.frames_at_best, rule.seconds_at_best
            )
    if alarm.updates and alarm.settings.updates.sources:
        from edge.cli.doctor.findings import Target
        from edge.cli.doctor.keys import new_models

        target = Target(alarm.settings, given_state=alarm.state)
        write("New models: %s.", "; ".join(filter(None, new_models(target, look=False))))
    if alarm.rollout:
        _introduce_stages(alarm.rollout, alarm.settings, write)
    if alarm.state and alarm.clock.synced() is False:
        write("The clock is not synchronised, so times may be wrong%s.", f" ({alarm.clock.how})" if verbose else "")


def _introduce_stages(rollout: Rollout, settings: Settings, write: Write) -> None:
    for name in rollout.cameras:
        one = rollout.standing(name)
        if one.entry.stage == "shadow":
            log.warning("%s: %s.", name, one.words)
        elif one.entry.stage == "supervised":
            log.warning("%s: %s; %s; %s.", name, one.words, settings.stages.unanswered_words, answered(settings))
        if other := other_stage(rollout.history(name)):
            write("%s.", other)


def model_line(classifier: Classifier) -> str:
    """Return the model's name and, shortly, what may be done with it; ``bear-alarm model show`` has all of it."""
    card = classifier.card
    if card.notice and "evaluation only" in card.notice.lower():
        return (
            f"Model {classifier.name}: for evaluation only; train on your own pictures before relying on it "
            "(bear-alarm model show)."
        )
    licence = textwrap.shorten(card.licence.rstrip("."), 60, placeholder=" …")
    return f"Model {classifier.name}, licence: {licence}. {card.notice or ''}".rstrip()


def sum_up(alarm: Alarm, taken_s: float, write: Write, pictures: Sequence[str] = (), *, verbose: bool = False) -> None:
    """Print the sum: footage, alarms and where files are; ``verbose``: speed and memory too.

    ``pictures`` are those of the alarms; where there is one, it is named.
    """
    sources = [thread.source for thread in alarm.threads]
    watchers = [thread.watcher for thread in alarm.threads]
    writer, events = alarm.writer, alarm.settings.alerts.events
    tallies = [watcher.stats for watcher in watchers]
    for opened, tally in zip(sources, tallies, strict=True):
        if not tally.frames:
            write("%s: no frame came, so nothing is known of bears there.", opened.name)
        elif tally.frames == 1 and not opened.live:
            write(
                "%s: one picture alone raises no alarm, whatever it shows; look at single ones with "
                "`bear-alarm classify`.", opened.name
            )  # fmt: skip
    frames = sum(tally.frames for tally in tallies)
    if not frames:
        return
    counts = sum((watcher.publisher.counts for watcher in watchers), Counter[str]())
    footage_s = sum(tally.footage_s for tally in tallies)
    shown = f" in {lasting(footage_s)} of footage" if footage_s > 0 else ""
    if all(watcher.single_images for watcher in watchers):
        # Pictures come when they come: the time between them is no footage.
        write("%s in %s, watched for %s.", _alarms(counts), counted(frames, "picture"), lasting(taken_s))
    else:
        write("%s%s: %s.", _alarms(counts), shown, counted(frames, "frame"))
    if len(sources) > 1:
        for opened, watcher in zip(sources, watchers, strict=True):
            if watcher.stats.frames:
                write("  %s", _of_one(opened, watcher))
    if counts["trouble"]:
        write("%s.", counted(counts["trouble"], "camera problem"))
    for opened in sources:
        if lost := _lost(opened):
            write("%s: %s", opened.name, lost)
    if verbose:
        _print_cost(tallies, taken_s, write)
    if len(pictures) == 1:
        write("Picture of the alarm: %s", from_here(Path(pictures[0])))
    elif counts["new"] and writer:
        write("Pictures: %s", from_here(writer.folder))
    if counts and events and events != "-":
        write("Events: %s", events)


def _print_cost(tallies: Sequence[LoopStats], taken_s: float, write: Write) -> None:
    import numpy as np

    from edge.device.sensors import peak_memory_mb

    frames, crops = (sum(numbers) for numbers in zip(*((each.frames, each.crops) for each in tallies), strict=True))
    peak_mb = peak_memory_mb()
    times = np.array([ms for tally in tallies for ms in tally.frame_ms] or [0.0])
    write(
        "It took %s: %.0f frames a second, %s looked at. Without reading it, a frame took %.1f ms (median), %.1f ms "
        "(95 %%); peak memory %s.",
        lasting(taken_s), frames / max(taken_s, 1e-9), counted(crops, "place"), *np.percentile(times, [50, 95]),
        "unknown" if peak_mb is None else f"{peak_mb:.0f} MB"
    )  # fmt: skip


def next_steps() -> tuple[str, str]:
    """Return the commands to type after the demo, with the path of this program if it is not on PATH.

    Where there is a config, the alarm is started with it. Raises OptionError for one that is named and not there.
    """
    called = Path(sys.argv[0])
    program = "bear-alarm"
    if called.stem == program and shutil.which(program) is None:  # in an environment that is not on the PATH
        program = shlex.quote(from_here(called.absolute()))
    config = find_config()
    watch = f"watch  (with your camera in {config})" if config else "watch 0"
    return f"Next, aim your camera:  {program} snapshot 0", f"Then let it watch:      {program} {watch}"


def _lost(opened: Source) -> str | None:
    """Return how long a camera gave no picture, in words; None for one that always did, and for files."""
    kept = opened.primary
    if kept.lost_s < MIN_LOST_S:
        return None
    return f"{lasting(kept.lost_s)} without a picture, reopened {counted(kept.reopened, 'time')}"


def _alarms(counts: Counter[str]) -> str:
    return counted(counts["new"], "alarm") if counts["new"] else "No alarm"


def _of_one(opened: Source, watcher: Watcher) -> str:
    tally = watcher.stats
    # From the first frame to the last: of one there is no rate.
    rate = f" ({(tally.frames - 1) / tally.footage_s:.1f} a second)" if tally.footage_s > 0 else ""
    return f"{opened.name}: {_alarms(watcher.publisher.counts).lower()}, {counted(tally.frames, 'frame')}{rate}."
