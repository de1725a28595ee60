"""From a source to a folder: fetch or read, keep, and say what became of it. Ctrl-C keeps what came."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from edge.cli.progress import track
from edge.errors import PictureError, SourceError
from edge.pictures import picture_bytes
from train.catalog.table import Table, check_no_loose, plain_text
from train.gather.download import Downloader
from train.gather.found import Failed, Found
from train.gather.keep import Keeper
from train.gather.tally import THERE, Tally

log = logging.getLogger(__name__)

Bytes = tuple[Found, bytes | Failed]


def bring(found: Iterable[Found], out: Path, downloader: Downloader | None = None, *, most: int | None = None) -> Tally:
    """Bring what a source offers into the folder ``out`` and its table; says what came and what was left out.

    ``downloader`` fetches what has an address. Raises SourceError where a source breaks off, OptionError where nothing
    can be written, CatalogError where the table is damaged; what came until then stays.
    """
    offered = iter(found)
    first = next(offered, None)  # a source that cannot be read at all leaves no folder behind
    if not (first and first.file and first.file.resolve().is_relative_to(out.resolve())):
        check_no_loose(out, "--out")
    with Table(out) as table:
        keeper = Keeper(table, track)
        wanted = (each for each in chain((first,) if first else (), offered) if keeper.wants(each))
        fetched = downloader.all(wanted, lambda each: each.failed or each.url) if downloader else _read(wanted)
        try:
            for each, data in track(fetched, "gathering", most):
                keeper.take(each, data)
        finally:
            keeper.write()
            for line in keeper.tally.lines(out, len(table.rows)):
                log.info("%s", line)
    tally = keeper.tally
    unreached = tally.counts["no answer"] + tally.counts["host busy"]
    if unreached and unreached == sum(tally.counts.values()) - tally.counts[THERE]:
        why = tally.examples.get("no answer") or tally.examples.get("host busy", "")
        raise SourceError(f"no picture could be fetched ({why}); check the network and run the same command again")
    return tally


def _read(wanted: Iterable[Found]) -> Iterator[Bytes]:
    for each in wanted:
        if each.failed:
            yield each, each.failed
        elif each.data:
            yield each, each.data()
        else:
            yield each, _file_bytes(each.file or Path())


def _file_bytes(file: Path) -> bytes | Failed:
    if plain_text(str(file)) != str(file):
        return Failed("odd names", "the name of it or of its folder is not UTF-8 text on one line; rename it")
    try:
        return picture_bytes(file)
    except PictureError as error:
        return Failed("unreadable", str(error))
