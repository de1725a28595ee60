"""The ``train`` command: its switches, and what they ask of the pictures. Light, for ``--help``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from train.data.pictures import Catalog
    from train.data.split import Split


def train(
    data: Annotated[
        Path | None, typer.Argument(help="A folder with one sub-folder a label, or a manifest CSV.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder, to be written.")] = Path("runs/bear"),
    backbone: Annotated[
        str | None, typer.Option(help="efficientnet_lite0 (default), resnet18, or the name of any timm network.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs over all layers. Default 4.")] = None,
    per_epoch: Annotated[int | None, typer.Option(min=32, help="Crops drawn an epoch. Default 4,800.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same machine, versions and seed give the same model. Default 7.")
    ] = None,
    tune: Annotated[list[str] | None, typer.Option(help="A source to keep for thresholds; repeatable.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="A source to keep for the final test; repeatable.")] = None,
    fold: Annotated[
        str | None,
        typer.Option(help="1/3: never show it the first third of the trail cameras (column condition); test on those."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="What a folder's name means: dog=no_bear; repeatable.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights, where they are not in the usual place.")
    ] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--no-pretrained", help="Start from ImageNet weights, or from nothing.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="The network's input side in pixels, a multiple of 32; default: the backbone's.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="The head's learning rate; the body gets half of it. Default 0.0004.")
    ] = None,
    fp16: Annotated[bool | None, typer.Option("--fp16", help="Half precision, on a GPU.")] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Train so many times, with seeds from --seed on, and print the spread.")
    ] = 1,
    hard_negatives: Annotated[
        list[Path] | None,
        typer.Option(help="Bear-free pictures or a clip: what the present model takes for bears there is learned."),
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="A JSON file of recipe values, or a run's settings.json.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A rough model in under four minutes.")] = False,
    shippable: Annotated[
        bool, typer.Option("--shippable", help="Leave out pictures whose licence keeps the model from being passed on.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a training that was broken off in this folder, as it was begun.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that already holds a run.")] = False,
) -> None:
    """Train a model on your own pictures. Works with no network.

    Sub-folders: brown_bear, black_bear, polar_bear (or bear, when the species is not known), teddy_bear, and
    no_bear for everything else your camera sees: dogs, cattle, people, the empty place. Put each
    camera's pictures into a sub-folder of its own, so that it is tested on a place it has not learned.
    """
    from edge.errors import OptionError
    from train.data.pictures import check_trainable
    from train.data.split import Fold, complete, split_catalog
    from train.data.table import only_shippable, parse_labels, read_catalog
    from train.learn.recipe import Recipe, changed, check_gpu, fitted, recipe_of, recipe_values
    from train.learn.seeds import seed_folder
    from train.learn.threads import wait_asleep
    from train.learn.unfinished import FILE, Begun, read_begun

    def divide(pictures: Catalog) -> Split:
        fold = Fold.parse(begun.fold) if begun.fold else None
        return split_catalog(pictures, recipe.seed, tune=begun.tune, test=begun.test, fold=fold)

    given = {
        "backbone": backbone,
        "pretrained": pretrained,
        "size": image_size,
        "fp16": fp16,
        "epochs": epochs,
        "per_epoch": per_epoch,
        "seed": seed,
    }
    if resume:
        named = any(one is not None for one in (data, fold, weights, lr, recipe_file, *given.values()))
        if named or seeds > 1 or any((tune, test, label, hard_negatives, quick, shippable)):
            raise OptionError("--resume goes on with the pictures and options it was begun with; give none of them")
        begun, out = read_begun(resume), resume
        recipe, size_named = changed(Recipe(), begun.recipe, str(resume / FILE)), True
    else:
        if data is None:
            raise OptionError("name a folder of pictures to train on, or go on with what was broken off: --resume RUN")
        values = recipe_values(recipe_file) if recipe_file else {}  # once: it may be a pipe
        recipe = recipe_of(values, str(recipe_file), quick=quick, given=given, lr=lr)
        size_named = image_size is not None or "size" in values
        for folder in [seed_folder(out, recipe.seed + n) for n in range(seeds)] if seeds > 1 else [out]:
            if (folder / "learner.pkl").exists() and not force:
                raise OptionError(
                    f"{folder}: already holds a trained run; choose another --out, or replace it with --force"
                )
            if (folder / FILE).exists() and not force:
                raise OptionError(
                    f"{folder}: a training was broken off here; go on with it: bear-alarm train --resume {folder}, "
                    "or begin again with --force"
                )
        begun = Begun(
            str(data.absolute()), {}, tune or [], test or [], fold, label or [],
            str(weights.absolute()) if weights else None, shippable, "",
        )  # fmt: skip
        if fold:
            Fold.parse(fold)  # before the pictures are read
    aliases = parse_labels(begun.labels)
    catalog = read_catalog(Path(begun.data), aliases)
    if begun.shippable:
        catalog = only_shippable(catalog)
    check_trainable(catalog)
    if resume and catalog.digest != begun.catalog_sha256:
        raise OptionError(
            f"{begun.data}: pictures, labels or boxes changed since {resume} was begun; "
            f"put them back, or begin again: bear-alarm train {begun.data} --out {resume} --force"
        )
    begun = replace(begun, catalog_sha256=catalog.digest)
    split = divide(catalog)
    wait_asleep()
    check_gpu(recipe)
    from edge.cli.progress import track
    from train.learn.dataloaders import PictureCache, leave_out_broken
    from train.learn.hard_negatives import FOLDER, remembered
    from train.learn.learner import end_processes, first
    from train.learn.network import find_backbone, weights_file
    from train.learn.run import make_folder
    from train.learn.session import Session

    network = find_backbone(recipe.backbone)
    recipe = fitted(recipe, network.size, named=size_named)
    weights = Path(begun.weights) if begun.weights else None
    if recipe.pretrained:
        weights = weights_file(network, weights)
    make_folder(out)
    cache = PictureCache()
    catalog, split = leave_out_broken(catalog, split, cache, track if first() else lambda rows, _: iter(rows))
    if not complete(split):  # a part lost its only bears, or all else
        split = divide(catalog)
    session = Session(catalog, split, out, weights, aliases, cache, begun)
    if resume:
        session.more = remembered(begun.hard_negatives, out / FOLDER)
        session.train(recipe, out, again=True)
    else:
        session.mine(hard_negatives or (), recipe)
        if seeds > 1:
            session.train_seeds(recipe, seeds)
        else:
            session.train(recipe, out)
    end_processes()
