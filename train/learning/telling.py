"""What a training says on the terminal: a bar over its batches, lines, and the figures at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastai.callback.core import Callback


def say(words: str) -> None:
    """One line on stderr; nothing from any but the first of several processes."""
    from train.learning.together import first

    if first():
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()


def say_result(metrics: Mapping[str, Any], out: Path, rate: float) -> None:
    """What a finished run is worth on its tuning part, and what to do with it; ``rate`` is the recipe's."""
    at = metrics["thresholds"]["all"]
    say(
        f"On {metrics['pictures']} tuning pictures ({metrics['crops']} crops, half of them degraded): "
        f"error rate {100 * metrics['error_rate']:.1f} %, bear recall {100 * metrics['bear_recall']:.1f} % at "
        f"{100 * metrics['false_positive_rate']:.1f} % false positives (threshold {at['value']:.2f})."
    )
    say(f"Pictures of it: {out / 'confusion-matrix.png'}, {out / 'top-losses.png'}, {out / 'learning-curve.png'}")
    say(f"Next: bear-alarm export {out} --out bear.onnx")


class Bar:
    """A progress bar over training batches on a terminal; epochs' figures as plain lines either way."""

    def __init__(self, steps: int):
        from rich.console import Console
        from rich.progress import Progress

        self._console = Console(stderr=True)
        self._bar = Progress(console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task("training", total=steps)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def callback(self) -> Callback:
        """The fastai callback that moves the bar."""
        from train.learning.callbacks import Progress

        return Progress(lambda: self._bar.advance(self._task), say)
