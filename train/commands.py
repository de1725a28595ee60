"""The ``train`` command."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fastai.callback.core import Callback

    from train.catalog import Catalog
    from train.split import Split


class BackboneName(StrEnum):
    """The networks there are."""

    efficientnet_lite0 = "efficientnet_lite0"
    resnet18 = "resnet18"


def train(
    data: Annotated[Path, typer.Argument(help="A folder with one sub-folder a label, or a manifest CSV.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder, to be written.")] = Path("runs/bear"),
    backbone: Annotated[BackboneName, typer.Option(help="The network.")] = BackboneName.efficientnet_lite0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs over all layers.")] = None,
    per_epoch: Annotated[int | None, typer.Option(min=32, help="Crops drawn an epoch.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same machine, versions and seed give the same model.")] = 7,
    tune: Annotated[list[str] | None, typer.Option(help="A source to keep for thresholds; repeatable.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="A source to keep for the final test; repeatable.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="What a folder's name means: dog=no_bear; repeatable.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights, where they are not in the usual place.")
    ] = None,
    pretrained: Annotated[bool, typer.Option(help="Start from ImageNet weights, or from nothing.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="A rough model in under four minutes.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that already holds a run.")] = False,
) -> None:
    """Train a model on your own pictures. Works with no network.

    Sub-folders: brown_bear, black_bear, polar_bear (or bear, when the species is not known), teddy_bear, and
    no_bear for everything else your camera sees: dogs, cattle, people, the empty place. Put each
    camera's pictures into a sub-folder of its own, so that it is tested on a place it has not learned.
    """
    from edge.errors import OptionError
    from train.catalog import check_trainable, read_catalog
    from train.labels import parse_labels
    from train.split import complete, split_catalog
    from train.threads import wait_asleep

    def divide(pictures: Catalog) -> Split:
        return split_catalog(pictures, seed, tune=tune or (), test=test or ())

    if (out / "learner.pkl").exists() and not force:
        raise OptionError(f"{out}: already holds a trained run; choose another --out, or replace it with --force")
    aliases = parse_labels(label or [])
    catalog = read_catalog(data, aliases)
    check_trainable(catalog)
    split = divide(catalog)
    wait_asleep()
    from edge.commands.progress import track
    from train.backbones import find_backbone, weights_file
    from train.learner import Recipe
    from train.pictures import PictureCache, leave_out_broken
    from train.run import make_folder, train_run

    if pretrained:
        weights = weights_file(find_backbone(backbone.value), weights)
    make_folder(out)
    cache = PictureCache()
    catalog, split = leave_out_broken(catalog, split, cache, track)
    if not complete(split):  # a part lost its only bears, or all else
        split = divide(catalog)
    recipe = Recipe(backbone=backbone.value, pretrained=pretrained, seed=seed)
    changes: dict[str, Any] = {"freeze_epochs": 1, "epochs": 1, "per_epoch": 960} if quick else {}
    changes |= {name: value for name, value in {"epochs": epochs, "per_epoch": per_epoch}.items() if value}
    recipe = Recipe(**(vars(recipe) | changes))
    for name, part in split.items():
        _say(f"{name:<6}{len(part):>6} pictures from {len({p.source for p in part})} sources")
    steps = (recipe.epochs + (recipe.freeze_epochs if pretrained else 0)) * (recipe.per_epoch // recipe.batch)
    with _Bar(steps) as bar:
        metrics = train_run(
            catalog,
            split,
            out,
            recipe,
            weights=weights,
            progress=bar.callback(),
            track=track,
            aliases=aliases,
            cache=cache,
        )
    at = metrics["thresholds"]["all"]
    _say(
        f"On {metrics['pictures']} tuning pictures ({metrics['crops']} crops, half of them degraded): "
        f"error rate {100 * metrics['error_rate']:.1f} %, bear recall {100 * metrics['bear_recall']:.1f} % at "
        f"{100 * metrics['false_positive_rate']:.1f} % false positives (threshold {at['value']:.2f})."
    )
    _say(f"Pictures of it: {out / 'confusion-matrix.png'}, {out / 'top-losses.png'}, {out / 'learning-curve.png'}")
    _say(f"Next: bear-alarm export {out} --out bear.onnx")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


class _Bar:
    """A progress bar over training batches on a terminal; epochs' figures as plain lines either way."""

    def __init__(self, steps: int):
        from rich.console import Console
        from rich.progress import Progress

        self._console = Console(stderr=True)
        self._bar = Progress(console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task("training", total=steps)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def callback(self) -> Callback:
        """The fastai callback that moves the bar."""
        from train.learner import Progress

        return Progress(lambda: self._bar.advance(self._task), _say)
