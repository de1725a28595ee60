"""Leaving out what a model that is passed on may not be trained on."""

from __future__ import annotations

import logging
from dataclasses import replace

from edge.errors import CatalogError
from train.catalog.licences import counted, may_ship
from train.catalog.picture import Catalog, table_digest

log = logging.getLogger(__name__)


def only_shippable(catalog: Catalog) -> Catalog:
    """The catalogue without pictures whose licence does not let a model be passed on; they stand in ``left_out``.

    Says how many there are, by licence. Raises CatalogError where none is left.
    """
    kept = tuple(picture for picture in catalog.pictures if may_ship(picture.licence))
    out = tuple(picture for picture in catalog.pictures if not may_ship(picture.licence))
    if not out:
        return catalog
    words = (
        f"{catalog.root}: {len(out)} of {len(catalog.pictures)} pictures are left out, a model trained on them may "
        f"not be passed on ({counted(picture.licence for picture in out)})"
    )
    if not kept:
        raise CatalogError(f"{words}; gather others, or train without --shippable")
    log.warning("%s", words)
    digest = table_digest(kept, catalog.root)
    return replace(catalog, pictures=kept, digest=digest, left_out=(*catalog.left_out, *out))
