"""Compare ways to fuse a track's scores: one frame, a mean, the best three, or the alarm's own running sum.

    BEAR_ALARM_PICTURES=PICTURES python tests/prove_fusing.py [--model X.onnx]

Every clip of PICTURES/videos goes through the alarm, and what it says of each track in each frame is put together in
four ways. Each way is given the lowest level at which no clip without a bear alarms; what is printed is how long after
the bear comes into view the others do.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.odds import logit
from edge.record.trace import Moment
from edge.watch import Watcher
from tests.conftest import PICTURES
from train.evaluate.clips import Clip, read_clips

Look = tuple[float, float, float]  # of one track in one frame: seconds, logit of its score, its running sum


def one_frame(looks: Sequence[Look]) -> float:
    """Return the newest score's logit."""
    return looks[-1][1]


def mean_of_a_second(looks: Sequence[Look]) -> float:
    """Return the mean logit of the last second, of three looks at least."""
    last = [said for at, said, _ in looks if at > looks[-1][0] - 1.0] or [looks[-1][1]]
    return sum(last) / len(last) if len(looks) >= 3 else -math.inf


def best_three(looks: Sequence[Look]) -> float:
    """Return the mean of the three highest logits of the last three seconds."""
    best = sorted((said for at, said, _ in looks if at > looks[-1][0] - 3.0), reverse=True)[:3]
    return sum(best) / 3 if len(best) == 3 else -math.inf


def running_sum(looks: Sequence[Look]) -> float:
    """Return what the alarm goes by (CUSUM), in logit-seconds."""
    return looks[-1][2]


WAYS: dict[str, Callable[[Sequence[Look]], float]] = {
    "one frame": one_frame,
    "mean of the last second": mean_of_a_second,
    "best three of the last three seconds": best_three,
    "the alarm's running sum": running_sum,
}


def watched(classifier: Classifier, clip: Clip) -> dict[str, list[tuple[float, float]]]:
    """Return by the name of each way the seconds and values of every frame in which a track was looked at."""
    tracks: dict[int, list[Look]] = defaultdict(list)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}

    def note(moment: Moment) -> None:
        for one in moment.standings:
            if one.bear is not None:
                tracks[one.track].append((moment.time, logit(one.bear), one.sum))
                for name, way in WAYS.items():
                    found[name].append((moment.time, way(tracks[one.track])))

    watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([]), trace=note)
    with open_source(str(clip.file)) as source:
        watcher(source)
    return found


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    options = parser.parse_args()
    table = PICTURES / "videos" / "videos.csv"
    if not table.is_file():
        print(f"{table}: no such table, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    classifier, clips = Classifier(options.model), read_clips(table)
    seen = [watched(classifier, clip) for clip in clips]
    bears = [number for number, clip in enumerate(clips) if clip.bear_from_s is not None]
    print(f"{classifier.name}\n")
    print(f"| way | level | {' | '.join(clips[number].file.stem for number in bears)} |")
    print("|---|---|" + "---|" * len(bears))
    for name in WAYS:
        quiet = max(value for number, each in enumerate(seen) if number not in bears for _, value in each[name])
        after = []
        for number in bears:
            begin = clips[number].bear_from_s or 0.0
            first = next((at for at, value in seen[number][name] if value > quiet), None)
            after.append("never" if first is None else f"{first - begin:.1f} s")
        print(f"| {name} | {quiet:.2f} | {' | '.join(after)} |")


if __name__ == "__main__":
    main()
