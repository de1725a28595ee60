"""Choose the pictures to judge, by the options that ``evaluate`` and ``compare`` share.

Apart from both, because their help must not wait for numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import CatalogError, OptionError

if TYPE_CHECKING:
    from train.data.pictures import Catalog, Picture

SourceOpt = Annotated[list[str] | None, typer.Option(help="Only pictures from this source; may be given again.")]
SplitOpt = Annotated[str | None, typer.Option(help="Only this part: train, tune or test.")]
SplitFileOpt = Annotated[Path | None, typer.Option(help="split.csv of the run that decided the parts.")]
LabelOpt = Annotated[list[str] | None, typer.Option(help="A folder name's label, such as dog=no_bear.")]


def choose(
    path: Path, sources: Sequence[str], split: str | None, split_file: Path | None, labels: Sequence[str]
) -> Catalog:
    """Read the table, with the pictures that match the options; its digest is the whole table's.

    Raises OptionError or CatalogError if the options match nothing.
    """
    from train.data.catalog import read_catalog
    from train.data.labels import parse_labels
    from train.data.pictures import SPLITS
    from train.data.split import read_split

    if split is not None and split not in SPLITS:
        raise OptionError(f"--split is {split!r}; parts are {', '.join(SPLITS)}")
    if split_file is not None and split is None:
        raise OptionError(f"--split-file needs --split: which part of it, {', '.join(SPLITS)}?")
    catalog = read_catalog(path, parse_labels(labels))
    pictures: list[Picture] = list(catalog.pictures)
    if split_file is not None and split is not None:
        pictures = read_split(catalog, split_file)[split]
    elif split is not None:
        pictures = [picture for picture in pictures if picture.split == split]
    if sources:
        unknown = sorted(set(sources) - {picture.source for picture in catalog.pictures})
        if unknown:
            raise OptionError(f"no source is called {unknown[0]!r}; sources are {_names(catalog)}")
        pictures = [picture for picture in pictures if picture.source in sources]
    if not pictures:
        raise CatalogError(f"{path}: no picture is left in part {split!r} with these options")
    return replace(catalog, pictures=tuple(pictures))


def _names(catalog: Catalog) -> str:
    return ", ".join(sorted(catalog.count("source")))
