"""Options of a package: what is missing is asked for before any picture is looked at."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from edge.cli.camtrap_options import camtrap_options
from edge.errors import OptionError
from edge.settings import Site

SITE = Site(name="Krim", latitude=45.93, longitude=14.47, country="SI", timezone="Europe/Ljubljana")
ANA = ["Ana Novak <ana@example.org>"]


def test_site_of_the_config_is_the_one_deployment(tmp_path: Path) -> None:
    camtrap = camtrap_options(SITE, camtrap_dp=tmp_path / "bears", contributor=[*ANA, "Hunters' club"])
    assert camtrap is not None
    (deployment,) = camtrap.deployments
    assert (deployment.id, deployment.latitude, deployment.folder, camtrap.zone) == ("Krim", 45.93, ".", SITE.timezone)
    assert camtrap.about.country == "SI"
    assert camtrap.about.contributors == [
        {"title": "Ana Novak", "email": "ana@example.org", "role": "contact"},
        {"title": "Hunters' club", "role": "contributor"},
    ]
    assert not list(tmp_path.iterdir())


def test_exact_places_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        camtrap_options(SITE, camtrap_dp=tmp_path / "bears", contributor=ANA)
        assert not caplog.records
        camtrap_options(SITE, camtrap_dp=tmp_path / "bears", contributor=ANA, exact=True)
    assert "exact places of the cameras" in caplog.text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"exact": True}, "--exact belongs to a Camtrap DP package; give --camtrap-dp FOLDER too"),
        ({"camtrap_dp": "bears"}, 'give --contributor "Name <mail>"'),
        ({"camtrap_dp": "bears", "contributor": ["  "]}, "names nobody"),
        ({"camtrap_dp": "bears", "contributor": ["Ana <ana@home>"]}, "ana@home is no mail address"),
        ({"camtrap_dp": "bears", "contributor": ANA}, "give --deployments deployments.csv with the columns"),
        ({"camtrap_dp": "no/bears", "contributor": ANA}, "there is no folder"),
        ({"camtrap_dp": "bears", "contributor": ANA, "timezone": "CEST+1"}, "--timezone: 'CEST+1' is no time zone"),
        ({"camtrap_dp": "bears", "contributor": ANA, "deployments": "none.csv"}, "none.csv: cannot be read"),
    ],
)
def test_mistake_is_one_sentence(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    for name in ("camtrap_dp", "deployments"):
        if name in given:
            given = {**given, name: tmp_path / given[name]}
    with pytest.raises(OptionError) as caught:
        camtrap_options(Site(), **given)
    assert sentence in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nothing_asked_for_is_no_package() -> None:
    assert camtrap_options() is None
