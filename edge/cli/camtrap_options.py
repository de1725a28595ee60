"""Options of Camtrap DP packages, which ``classify`` and ``events export`` share."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

    def write(self, results: Iterable[Result], country: str = "") -> None:
        """Write the package of these results, and say what is in it. Raises OptionError."""
        from edge.batch.camtrap_dp import write_package
        from edge.cli.output import counted

        about = replace(self.about, country=country or self.about.country)
        package = write_package(self.folder, self.deployments, results, about, zone=self.zone, force=self.force)
        log.info("%s: %s, %s with bears", self.folder, counted(package.events, "event"), f"{package.bears:,}")


def camtrap_options(
    site: Site | None = None,
    force: bool = False,
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
    title: Annotated[str | None, camtrap_option(help="Title of the package. [default: Camera traps]")] = None,
    contributor: Annotated[
        list[str] | None, camtrap_option(help='Who made it, as "Name <mail>"; the first is whom to ask. Repeatable.')
    ] = None,
    exact: Annotated[
        bool, camtrap_option("--exact", help="Write the coordinates as they are, not rounded to 0.1 degree.")
    ] = False,
    public: Annotated[bool, camtrap_option("--public", help="Say that anybody may see the pictures.")] = False,
) -> Camtrap | None:
    """Return the package to be written, None for none. Raises OptionError for what cannot work.

    ``site``: of the config, for where there is no table of deployments; by default it is looked for.
    """
    from edge.batch.camtrap_dp import About, check_folder
    from edge.batch.deployments import parse_zone, read_deployments

    given = {
        "--deployments": deployments, "--timezone": timezone, "--title": title, "--contributor": contributor,
        "--exact": exact, "--public": public,
    }  # fmt: skip
    if camtrap_dp is None:
        if used := [option for option, value in given.items() if value]:
            raise OptionError(f"{used[0]} belongs to a Camtrap DP package; give --camtrap-dp FOLDER too")
        return None
    if not contributor:
        raise OptionError('--camtrap-dp: a package names whom to ask about it; give --contributor "Name <mail>"')
    people = [_person(each, number) for number, each in enumerate(contributor)]
    check_folder(camtrap_dp, force=force)
    if timezone:
        parse_zone(timezone, "--timezone")
    if site is None:
        from edge.cli.options import settings_at_hand

        site = settings_at_hand().site
    zone = timezone or site.timezone
    table = read_deployments(deployments, zone) if deployments else [_at_site(site)]
    if exact:
        log.warning("The package holds the exact places of the cameras; give it only to people who may know them.")
    about = About(
        contributors=people,
        title=title or "Camera traps",
        country=site.country,
        exact=exact,
        public=public,
    )
    return Camtrap(camtrap_dp, table, about, zone, force)


def _at_site(site: Site) -> Deployment:
    """Return the one deployment of a config's site. Raises OptionError for one without coordinates."""
    from edge.batch.deployments import Deployment

    if site.latitude is None or site.longitude is None:
        raise OptionError(
            "--camtrap-dp: where the cameras stood is not known; give --deployments deployments.csv with the columns "
            "deploymentID, latitude and longitude, or write latitude and longitude under site: in the config"
        )
    return Deployment(site.name or "site", site.latitude, site.longitude, folder=".", zone=site.timezone)


def _person(words: str, number: int) -> dict[str, str]:
    name, mail = parseaddr(words)
    if "@" not in mail:
        name, mail = words.strip(), ""
    if not name and not mail:
        raise OptionError(f'--contributor {words!r}: names nobody; write it as "Name <mail>"')
    if mail and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", mail):
        raise OptionError(f'--contributor {words!r}: {mail} is no mail address; write it as "Name <mail>"')
    return {"title": name or mail, **({"email": mail} if mail else {}), "role": "contributor" if number else "contact"}
