"""The ``train`` command: its options and checks. Imports little, for ``--help``."""

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
    epochs: Annotated[int | None, typer.Option(min=1, help="Number of epochs. Default 4.")] = None,
    per_epoch: Annotated[int | None, typer.Option(min=32, help="Crops in an epoch. Default 4,800.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same machine, versions and seed give the same model. Default 7.")
    ] = None,
    tune: Annotated[list[str] | None, typer.Option(help="A source to keep for thresholds; repeatable.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="A source to keep for the final test; repeatable.")] = None,
    fold: Annotated[
        str | None,
        typer.Option(help="1/3: test on the first third of the trail cameras (column condition), never train on it."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="A folder name's label: dog=no_bear; repeatable.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="ImageNet weights, if they are not in the default place.")
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option("--pretrained/--no-pretrained", help="Start from ImageNet weights, or from random ones."),
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
        typer.Option(help="Bear-free pictures or a clip: crops that the present model takes for bears are learned."),
    ] = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="A JSON file of recipe values, or a run's settings.json.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A rough model in under four minutes.")] = False,
    shippable: Annotated[
        bool, typer.Option("--shippable", help="Skip pictures whose licence keeps the model from being passed on.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the interrupted training in this folder, with its options.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that already has a run.")] = False,
) -> None:
    """Train a model on your own pictures. Works with no network.

    Sub-folders: brown_bear, black_bear, polar_bear (or bear, when the species is not known), teddy_bear, and
    no_bear for everything else your camera sees: dogs, cattle, people, the empty place. Put each
    camera's pictures into a sub-folder of its own, so that the test shows places that the model has not learned.
    """
    from edge.errors import OptionError
    from train.data.catalog import only_shippable, read_catalog
    from train.data.pictures import check_trainable, parse_labels
    from train.data.split import Fold, complete, split_catalog
    from train.learn import wait_asleep
    from train.learn.recipe import Recipe, changed, check_gpu, fitted, recipe_of, recipe_values
    from train.learn.run_folder import FILE, StartedTraining, read_started, seed_folder

    def divide(pictures: Catalog) -> Split:
        fold = Fold.parse(started.fold) if started.fold else None
        return split_catalog(pictures, recipe.seed, tune=started.tune, test=started.test, fold=fold)

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
            raise OptionError(
                "--resume continues with the pictures and options of the interrupted training; give none of them"
            )
        started, out = read_started(resume), resume
        recipe, size_named = changed(Recipe(), started.recipe, str(resume / FILE)), True
    else:
        if data is None:
            raise OptionError(
                "name a folder of pictures to train on, or continue an interrupted training: --resume RUN"
            )
        values = recipe_values(recipe_file) if recipe_file else {}  # once: it may be a pipe
        recipe = recipe_of(values, str(recipe_file), quick=quick, given=given, lr=lr)
        size_named = image_size is not None or "size" in values
        for folder in [seed_folder(out, recipe.seed + n) for n in range(seeds)] if seeds > 1 else [out]:
            if (folder / "learner.pkl").exists() and not force:
                raise OptionError(
                    f"{folder}: already has a trained run; choose another --out, or replace it with --force"
                )
            if (folder / FILE).exists() and not force:
                raise OptionError(
                    f"{folder}: a training was interrupted here; continue it: bear-alarm train --resume {folder}, "
                    "or start again with --force"
                )
        started = StartedTraining(
            str(data.absolute()), {}, tune or [], test or [], fold, label or [],
            str(weights.absolute()) if weights else None, shippable, "",
        )  # fmt: skip
        if fold:
            Fold.parse(fold)  # before the pictures are read
    aliases = parse_labels(started.labels)
    catalog = read_catalog(Path(started.data), aliases)
    if started.shippable:
        catalog = only_shippable(catalog)
    check_trainable(catalog)
    if resume and catalog.digest != started.catalog_sha256:
        raise OptionError(
            f"{started.data}: pictures, labels or boxes changed since {resume} was started; "
            f"restore them, or start again: bear-alarm train {started.data} --out {resume} --force"
        )
    started = replace(started, catalog_sha256=catalog.digest)
    split = divide(catalog)
    wait_asleep()
    check_gpu(recipe)
    from edge.cli.output import track
    from train.learn.distributed import end_processes, first
    from train.learn.examples import PictureCache, skip_broken
    from train.learn.hard_negatives import FOLDER, from_notes
    from train.learn.network import find_backbone, weights_file
    from train.learn.run import make_folder
    from train.learn.session import Session

    network = find_backbone(recipe.backbone)
    recipe = fitted(recipe, network.size, named=size_named)
    weights = Path(started.weights) if started.weights else None
    if recipe.pretrained:
        weights = weights_file(network, weights)
    make_folder(out)
    cache = PictureCache()
    catalog, split = skip_broken(catalog, split, cache, track if first() else lambda rows, _: iter(rows))
    if not complete(split):  # a part lost its only bears, or all else
        split = divide(catalog)
    session = Session(catalog, split, out, weights, aliases, cache, started)
    if resume:
        session.more = from_notes(started.hard_negatives, out / FOLDER)
        session.train(recipe, out, again=True)
    else:
        session.mine(hard_negatives or (), recipe)
        if seeds > 1:
            session.train_seeds(recipe, seeds)
        else:
            session.train(recipe, out)
    end_processes()
