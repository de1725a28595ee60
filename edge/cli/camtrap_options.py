"""Options of Camtrap DP packages, which ``classify`` and ``events export`` share."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import OptionError
from edge.settings import Site

if TYPE_CHECKING:
    from edge.batch.camtrap_dp import About
    from edge.batch.deployments import Deployment
    from edge.batch.results import Result

log = logging.getLogger(__name__)

camtrap_option = functools.partial(typer.Option, rich_help_panel="Camtrap DP")


@dataclass(frozen=True, slots=True)
class Camtrap:
    """A package to be written: where, of which deployments, and what it says of itself."""

    folder: Path
    deployments: list[Deployment]
    about: About
    zone: str = ""
    force: bool = False
    one_place: bool = False  # the config's site
    by_camera: bool = False  # results of a package, whose deployments are the cameras

    def write(self, results: Iterable[Result], country: str = "", base: Path | None = None) -> None:
        """Write the package of these results, and say what is in it. Raises OptionError.

        ``base``: the folder that their names are relative to.
        """
        from edge.batch.camtrap_dp import write_package
        from edge.cli.output import counted

        package = write_package(
            self.folder,
            self.deployments,
            _of_one_camera(results) if self.one_place else results,
            replace(self.about, country=country or self.about.country),
            zone=self.zone,
            base=base.resolve().name if base else "",
            by_camera=self.by_camera,
            force=self.force,
        )
        pictures, events = counted(package.files, "picture"), counted(package.events, "event")
        log.info("%s: %s in %s, %s with bears", self.folder, pictures, events, f"{package.bears:,}")


def _of_one_camera(results: Iterable[Result]) -> Iterator[Result]:
    """Yield results of one folder, but for those that cameras make themselves. Raises OptionError for two."""
    from edge.detect.stills import camera_folder

    first: str | None = None
    for result in results:
        folder = camera_folder(result.row.file) or "."
        first = folder if first is None else first
        if folder != first:
            raise OptionError(
                f"the pictures lie in several folders ({first}, {folder}, …), and the config's site is one place; give "
                "--deployments deployments.csv with a row for each camera"
            )
        yield result


def camtrap_options(
    force: bool = False,
    sources: Sequence[Path] = (),
    alarm: bool = False,
    again: bool = False,
    *,
    camtrap_dp: Annotated[
        Path | None, camtrap_option("--camtrap-dp", help="Write a Camtrap DP 1.0.2 package into this new folder.")
    ] = None,
    deployments: Annotated[
        Path | None,
        camtrap_option(
            help="Table (CSV) of the cameras' places: deploymentID, latitude, longitude; also folder, timezone, shift, "
            "deploymentStart … (default: the config's site)."
        ),
    ] = None,
    timezone: Annotated[
        str | None, camtrap_option(help="Time zone of the cameras' clocks, such as Europe/Ljubljana or +01:00.")
    ] = None,
    title: Annotated[str | None, camtrap_option(help="Title of the package.")] = None,
    contributor: Annotated[
        list[str] | None, camtrap_option(help='Who made it, as "Name <mail>"; the first is whom to ask. Repeatable.')
    ] = None,
    exact: Annotated[
        bool,
        camtrap_option(
            "--exact", help="Write places as they are: coordinates not rounded, names of places, comments, notes."
        ),
    ] = False,
    public: Annotated[bool, camtrap_option("--public", help="Say that anybody may see the pictures.")] = False,
) -> Camtrap | None:
    """Return the package to be written, None for none. Raises OptionError for what cannot work.

    ``sources``: the files it is made of; ``alarm``: it is of the config's own alarm; ``again``: a package by this
    program is replaced without ``force``. The config's site is the place where nothing else says it.
    """
    from edge.batch.camtrap_dp import About, check_folder
    from edge.batch.deployments import parse_zone, read_deployments
    from edge.batch.results import OWN_TITLE, PACKAGE
    from edge.cli.options import settings_at_hand

    if camtrap_dp is None:
        if deployments or timezone or title or contributor or exact or public:
            raise OptionError("an option of Camtrap DP packages needs one; give --camtrap-dp FOLDER too")
        return None
    camtrap_dp = camtrap_dp.resolve()  # . has no name
    if not contributor:
        raise OptionError('--camtrap-dp: a package names whom to ask about it; give --contributor "Name <mail>"')
    people = [_person(each, number) for number, each in enumerate(contributor)]
    force = force or (again and OWN_TITLE in _makers(_described(camtrap_dp / PACKAGE)))
    check_folder(camtrap_dp, force=force)
    if timezone:
        parse_zone(timezone, "--timezone")
    own = _own_table(sources, exact=exact and not deployments)
    own = None if deployments else own
    site = settings_at_hand().site if alarm or not (deployments or own) else Site()
    zone = timezone or site.timezone
    given = deployments or own
    table = read_deployments(given, zone) if given else [_at_site(site, zone)]
    if exact:
        log.warning("The package holds the exact places of the cameras; give it only to people who may know them.")
    about = About(people, country=site.country if alarm else "", exact=exact, public=public)
    if title:
        about = replace(about, title=title)
    return Camtrap(camtrap_dp, table, about, zone, force, one_place=not given, by_camera=own is not None)


def _own_table(sources: Sequence[Path], *, exact: bool) -> Path | None:
    """Return the table of deployments of the only source where it is a package by this program; None for others.

    Raises OptionError for a package of another program, whose data would change under their name, and for one without
    the exact places that are asked of it.
    """
    from edge.batch.results import OWN_TITLE, PACKAGE, ROUNDED

    for path in (each for each in sources if each.name == PACKAGE):
        said = _described(path)
        if said is None:
            continue  # its reader says what is wrong
        if OWN_TITLE not in _makers(said):
            raise OptionError(
                f"{path}: is a package of another program, and would be written under its name with other data; "
                "convert it to --out, --csv or --coco"
            )
        if exact and ROUNDED in str(said.get("description")):
            raise OptionError(f"{path}: holds rounded places, and the exact ones are not known; do without --exact")
        if len(sources) == 1:
            return path.with_name("deployments.csv")
    return None


def _described(path: Path) -> dict[str, Any] | None:
    """Return what a datapackage.json says; None where it is none."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _makers(said: dict[str, Any] | None) -> list[object]:
    sources = (said or {}).get("sources")
    return [each.get("title") for each in sources if isinstance(each, dict)] if isinstance(sources, list) else []


def _at_site(site: Site, zone: str) -> Deployment:
    """Return the one deployment of a config's site. Raises OptionError for one without coordinates."""
    from edge.batch.deployments import Deployment

    if site.latitude is None or site.longitude is None:
        raise OptionError(
            "--camtrap-dp: where the cameras stood is not known; give --deployments deployments.csv with the columns "
            "deploymentID, latitude and longitude, or write latitude and longitude under site: in the config"
        )
    more = {"locationName": site.name} if site.name else {}
    return Deployment("site", site.latitude, site.longitude, folder=".", zone=zone, more=more)


def _person(words: str, number: int) -> dict[str, str]:
    name, mail = parseaddr(words)
    if "@" not in mail:
        name, mail = words.strip(), ""
    if not name and not mail:
        raise OptionError(f'--contributor {words!r}: names nobody; write it as "Name <mail>"')
    return {"title": name or mail, **({"email": mail} if mail else {}), "role": "contributor" if number else "contact"}
