"""The ``ood`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def ood(
    run: Annotated[Path, typer.Argument(help="The folder `bear-alarm train` wrote.")],
    outsiders: Annotated[
        Path | None, typer.Option(help="A folder of pictures the alarm is not meant for, one sub-folder a kind.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write it, .json or .html; default: RUN/ood.json.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where the run's pictures lie, if they moved.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare ways of spotting pictures unlike the training data: energy, Mahalanobis, nearest neighbour, ViM.

    Outsiders come from the run's own table where its notes name them (thermal pictures, other continents' animals,
    drawings, indoor), from --outsiders, and from lenses covered by the computer. The winner is kept in RUN/ood.json,
    and `bear-alarm export` puts it into the graph.
    """
    from edge.errors import OptionError

    if out is not None and out.suffix.lower() not in (".json", ".html"):
        raise OptionError(f"--out is {str(out)!r}; its name must end in .json or .html")
    from train.data.outsiders import of_folder
    from train.learn.run_folder import find_place
    from train.learn.threads import wait_asleep

    given = of_folder(outsiders) if outsiders else []
    place = find_place(run, data)
    wait_asleep()
    from edge.cli.progress import track
    from edge.files import replace_whole
    from train.learn.run import make_folder, read_run
    from train.learn.strangeness import RESULT, compare_run, page, save, text

    trained = read_run(run)
    make_folder(out.parent if out else run)
    found = compare_run(trained, trained.split(place.catalog), given, track)
    save(found, run / RESULT)
    if out is not None and out.suffix.lower() == ".html":
        replace_whole(out, page(found).encode())
    elif out is not None:
        save(found, out)
    if as_json:
        print(found.to_json(), end="")
    else:
        print(text(found))
    written = [run / RESULT, *([out] if out is not None and out != run / RESULT else [])]
    print("Written: " + ", ".join(map(str, written)), file=sys.stderr, flush=True)
