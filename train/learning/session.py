"""Run ``bear-alarm train`` once its pictures are read: mine, train once or several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge.cli.progress import counted, track
from train.data.pictures import Catalog
from train.data.pictures import Picture as Row
from train.data.split import Split
from train.learning.begun import STATE, Begun
from train.learning.hard_negatives import FOLDER, Mined, forget_others, mine, noted
from train.learning.pictures import PictureCache
from train.learning.recipe import Recipe
from train.learning.run import train_run
from train.learning.seeds import spread_text, train_seeds
from train.learning.switches import steps_of
from train.learning.telling import Bar, say, say_result
from train.learning.together import first, of_first, processes, wait_for_all

SURE = 0.9  # a hard negative that scores so high may be a bear after all


@dataclass
class Session:
    """The pictures and where the run goes; each method says on the terminal what it found."""

    catalog: Catalog
    split: Split
    out: Path
    weights: Path | None
    aliases: Mapping[str, str]
    cache: PictureCache
    begun: Begun
    more: tuple[Row, ...] = ()

    def mine(self, paths: Sequence[Path], recipe: Recipe) -> None:
        """Look for hard negatives with the present model, and keep them for the training with ``recipe``.

        Of several processes the first looks and writes; the others learn from the pictures it wrote.
        """
        if not paths:
            return
        from edge.detect.classifier import load

        held_out = [row.file for part in ("tune", "test") for row in self.split[part]]

        def look() -> tuple[Mined, str]:
            classifier = load()
            found = mine(paths, classifier, self.out, track, held_out=held_out, shippable=self.begun.shippable)
            return found, classifier.name

        found, model = of_first(look, cpu=not recipe.fp16)
        self.more = found.rows
        say(mined_words(found, model, self.out))

    def train(self, recipe: Recipe, out: Path, *, again: bool = False) -> dict[str, Any]:
        """Train once, into ``out``; ``again``: go on with the one that was broken off there."""
        if first() and not again:
            out.mkdir(parents=True, exist_ok=True)
            replace(self.begun, recipe=asdict(recipe), hard_negatives=noted(self.more)).write(out)
        for name, part in self.split.items():
            say(f"{name:<6}{len(part):>6} pictures from {counted(len({p.source for p in part}), 'source')}")
        with Bar(steps_of(recipe, processes())) as bar:
            metrics = train_run(
                self.catalog,
                self.split,
                out,
                recipe,
                weights=self.weights,
                progress=bar.callback(),
                track=track,
                aliases=self.aliases,
                cache=self.cache,
                more=self.more,
                checkpoint=out / STATE,
            )
        if metrics:
            forget_others(out / FOLDER, self.more)
            say_result(metrics, out, recipe.false_positive_rate)
        wait_for_all()
        return metrics

    def train_seeds(self, recipe: Recipe, count: int) -> None:
        """``count`` trainings, and their spread."""
        found = train_seeds(recipe, count, self.out, self.train)
        if found:
            say(f"{count} seeds, on the tuning part:")
            say(spread_text(found))


def mined_words(found: Mined, model: str, out: Path) -> str:
    """A few words on what was found, and what was not looked at."""
    held = f" {found.held_out} files are of the tuning or test part and are not learned from." if found.held_out else ""
    if found.not_shippable:
        held += f" {found.not_shippable} are left out for their licence."
    if not found.rows:
        looked = f"Hard negatives: none in {found.looked_at} pictures and frames"
        return f"{looked}; {model} takes nothing there for a bear.{held}"
    words = (
        f"Hard negatives: {len(found.rows)} crops of {found.looked_at} pictures and frames, "
        f"which {model} takes for bears; see {out / FOLDER}"
    )
    return words + (", and make sure that none of them is one." if found.highest >= SURE else ".") + held
