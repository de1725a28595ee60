"""What ``bear-alarm watch`` says to people: the start, each alert, the progress and the sum of it all."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.classifier import Classifier
    from edge.decide import Rule
    from edge.evidence import EvidenceWriter
    from edge.schema import Event
    from edge.watch import Watcher

Say = Callable[..., None]  # log.info, or what says nothing when it is to be quiet

# Builtins and reserved words of POSIX shells, and signs that make a word more than a name.
_WORDS = """
! . : [ [[ { alias bg break builtin case cd command continue echo eval exec exit export false fg for function getopts
hash if jobs kill local printf pwd read readonly return select set shift source test time times trap true type ulimit
umask unalias unset until wait while
"""
SHELL_WORDS = frozenset(_WORDS.split())
SHELL_SIGNS = frozenset("$`=;&|<>(){}*?[]#\n")


def alert(event: Event) -> str:
    """One line for people: when, where, what, how sure, how late, and where the picture lies."""
    when = f"{event.captured_at[11:19]}Z" if event.media_time_s is None else f"{event.media_time_s:.1f} s"
    if event.kind == "camera":
        return f"{'CAMERA' if event.type == 'new' else 'camera'}  {event.camera} at {when}: {event.detail}"
    what = (event.label or "bear").replace("_", " ")
    head = {"new": "BEAR", "update": "still there", "end": "no longer seen"}.get(event.type, event.type)
    if event.escalated:
        head = f"BEAR again ({event.escalated})"
    if event.alarms and sys.stderr is not None and sys.stderr.isatty():
        head = f"\033[1;31m{head}\033[0m"
    line = f"{head}  {event.camera} at {when}: {what}"
    if event.type == "end":
        return f"{line}, at most {event.top_score or 0.0:.2f}"
    line += f" {event.score or 0.0:.2f}, {event.latency_ms or 0.0:.0f} ms after the frame"
    if event.onset_s is not None:
        line += f", {event.onset_s:.1f} s after the first sign"
    notes = [*(f"in {name}" for name in event.zones), *([event.quiet] if event.quiet else [])]
    return ", ".join([line, *notes, *([event.evidence] if event.evidence else [])])


def introduce(classifier: Classifier, rule: Rule, source: list[str], sources: list[Source], say: Say) -> None:
    """What is watched with which model, its licence and limits, and how fast the alarm can be at best."""
    from edge.camera import shown
    from edge.camera.file import PictureSource
    from edge.camera.follow import FollowSource

    card = classifier.card
    say("Watching %s for %s.", ", ".join(shown(word) for word in source), card.bear_means)
    if any(isinstance(opened, PictureSource) for opened in sources):
        say("Pictures are played as a film, one a second; for single stills there is `bear-alarm classify`.")
    say("%s", model_line(classifier))
    if any(isinstance(opened, FollowSource) for opened in sources):
        say("One picture of %.2f or more alarms. An aid, not a life-safety device.", rule.still_threshold)
        return
    say(
        "A sure bear alarms within %d scored frames or %.1f s, whichever is later. An aid, not a life-safety device.",
        rule.frames_at_best,
        rule.seconds_at_best,
    )


def model_line(classifier: Classifier) -> str:
    """The model's name and, shortly, what may be done with it; ``bear-alarm model show`` has all of it."""
    card = classifier.card
    if card.notice and "evaluation only" in card.notice.lower():
        return (
            f"Model {classifier.name}: for evaluation only; train on your own pictures before relying on it "
            "(bear-alarm model show)."
        )
    licence = textwrap.shorten(card.licence.rstrip("."), 60, placeholder=" …")
    return f"Model {classifier.name}, licence: {licence}. {card.notice or ''}".rstrip()


def command_in_doubt(line: str, option: str = "--on-alarm") -> str | None:
    """One sentence when the first word of an option's command line is nothing the shell could run; None when it may be.

    Only plain words are judged: no assignments, expansions or other constructs of the shell, and not on Windows.
    """
    if os.name != "posix":
        return None
    try:
        first = shlex.split(line)[0]
    except (ValueError, IndexError):
        return None
    if first in SHELL_WORDS or SHELL_SIGNS & set(first) or shutil.which(os.path.expanduser(first)):  # noqa: PTH111
        return None
    return (
        f"{option}: `{first}` is no program on the PATH and no executable file, so it may do nothing when needed; "
        "check its name, and that it may be executed"
    )


def sum_up(
    sources: list[Source],
    watchers: list[Watcher],
    taken_s: float,
    writer: EvidenceWriter | None,
    events: str | None,
    say: Say,
) -> None:
    """One screen at the end: footage, speed, alarms, memory, and where things lie."""
    import numpy as np

    tallies = [watcher.tally for watcher in watchers]
    for opened, tally in zip(sources, tallies, strict=True):
        if not tally.frames:
            say("%s: no frame came, so nothing can be said of bears there.", opened.name)
    if not any(tally.frames for tally in tallies):
        return
    frames = sum(tally.frames for tally in tallies)
    told = sum((watcher.teller.told for watcher in watchers), Counter[str]())
    times = np.array([ms for tally in tallies for ms in tally.frame_ms] or [0.0])
    say(
        "%d frames, %.1f s of footage, in %.1f s (%.0f frames a second); %d crops scored.",
        frames, sum(tally.footage_s for tally in tallies), taken_s, frames / max(taken_s, 1e-9),
        sum(tally.crops for tally in tallies),
    )  # fmt: skip
    say(
        "%s. A frame took %.1f ms (median), %.1f ms (95 %%), reading it not counted; peak memory %s.",
        "No alarm" if not told["new"] else
        f"{counted(told['new'], 'alarm')} ({counted(told['update'], 'update')}, {counted(told['end'], 'end')})",
        *np.percentile(times, [50, 95]), peak_memory(),
    )  # fmt: skip
    if len(sources) > 1:
        for opened, tally in zip(sources, tallies, strict=True):
            say(
                "  %s: %d frames, %.1f a second of footage, %.1f ms each (median).",
                opened.name, tally.frames, tally.frames / max(tally.footage_s, 1e-9), np.median(tally.frame_ms or [0]),
            )  # fmt: skip
    if told["trouble"]:
        say("Troubles with a camera that were told: %d.", told["trouble"])
    if told["new"] and writer:
        say("Pictures: %s", writer.folder)
    if told and events and events != "-":
        say("Events: %s", events)


def counted(number: int, what: str) -> str:
    """``1 alarm``, ``2 alarms``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def peak_memory() -> str:
    """The most memory this process has held, in MB; "unknown" where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
        return f"{int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f} MB"
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return "unknown"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (1024 * 1024 if sys.platform == 'darwin' else 1024):.0f} MB"


@contextmanager
def progress(sources: list[Source], watchers: list[Watcher], show: bool) -> Iterator[Callable[[], None]]:
    """A bar over the seconds of footage, on a terminal, for files that take over two seconds."""
    lengths = [opened.length_s for opened in sources]
    if not show or sys.stderr is None or not sys.stderr.isatty() or any(length is None for length in lengths):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    total = sum(length or 0.0 for length in lengths)
    columns = (TextColumn("{task.completed:.0f} of {task.total:.0f} s"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("watching", total=total)
    patience = time.monotonic() + 2.0

    def update() -> None:
        if time.monotonic() >= patience:
            bar.start()
            bar.update(task, completed=sum(watcher.tally.footage_s for watcher in watchers))

    try:
        yield update
    finally:
        bar.stop()
