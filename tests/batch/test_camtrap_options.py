"""Options of a package: what is missing is asked for before any picture is looked at."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from edge.batch.camtrap_reader import read_package
from edge.batch.results import Result
from edge.cli.camtrap_options import camtrap_options
from edge.detect.stills import Row
from edge.errors import OptionError

ANA = ["Ana Novak <ana@example.org>"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a config that says where the cameras stand."""
    config = tmp_path / "bear-alarm.yml"
    config.write_text(
        "site: {name: Krim, latitude: 45.93, longitude: 14.47, country: SI, timezone: Europe/Ljubljana}\n"
    )
    monkeypatch.setenv("BEAR_ALARM_CONFIG", str(config))


@pytest.mark.usefixtures("site")
def test_site_of_the_config_is_the_one_deployment(tmp_path: Path) -> None:
    before = list(tmp_path.iterdir())
    to: dict[str, Any] = {"camtrap_dp": tmp_path / "bears", "contributor": [*ANA, "Hunters' club"]}
    camtrap = camtrap_options(**to)
    assert camtrap is not None
    (deployment,) = camtrap.deployments
    assert (deployment.id, deployment.latitude, deployment.folder) == ("site", 45.93, ".")
    assert deployment.more == {"locationName": "Krim"}
    assert (deployment.zone, camtrap.about.country) == ("Europe/Ljubljana", "")
    own = camtrap_options(False, (), True, **to, timezone="+05:30")
    assert own is not None
    assert (own.deployments[0].zone, own.about.country) == ("+05:30", "SI")
    assert camtrap.about.contributors == [
        {"title": "Ana Novak", "email": "ana@example.org", "role": "contact"},
        {"title": "Hunters' club", "role": "contributor"},
    ]
    assert list(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("site")
def test_one_place_takes_the_pictures_of_one_camera(tmp_path: Path) -> None:
    camtrap = camtrap_options(camtrap_dp=tmp_path / "bears", contributor=ANA)
    assert camtrap is not None
    one, other = ([result(f"{folder}/DCIM/10{n}RECNX/1.JPG") for n in (0, 1)] for folder in ("A", "B"))
    with pytest.raises(OptionError, match=r"several folders \(A, B, …\), .* give --deployments"):
        camtrap.write([*one, *other])
    camtrap.write(one)


def result(file: str) -> Result:
    """Return what a model said of a picture."""
    return Result(Row(file, "2024-05-03T21:14:05", "A03", "no_bear", 0.1, None, "none", None, ""))


def test_table_goes_without_the_config_s_site(tmp_path: Path, site: None) -> None:
    table = tmp_path / "deployments.csv"
    table.write_text("deploymentID,latitude,longitude\nA,46,14\n")
    camtrap = camtrap_options(camtrap_dp=tmp_path / "bears", contributor=ANA, deployments=table)
    assert camtrap is not None
    assert (camtrap.zone, camtrap.about.country) == ("", "")


@pytest.mark.usefixtures("site")
def test_package_becomes_one_again_with_its_own_table_and_another_program_s_does_not(tmp_path: Path) -> None:
    first = camtrap_options(camtrap_dp=tmp_path / "first", contributor=ANA)
    assert first is not None
    first.write([result("A/1.JPG")])
    document = tmp_path / "first" / "datapackage.json"
    again = camtrap_options(False, [document], camtrap_dp=tmp_path / "again", contributor=ANA)
    assert again is not None
    again.write(read_package(document))
    for name in ("deployments.csv", "media.csv", "observations.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    third: dict[str, Any] = {"camtrap_dp": tmp_path / "third", "contributor": ANA}
    with pytest.raises(OptionError, match=r"holds rounded places, .* do without --exact"):
        camtrap_options(False, [document], **third, exact=True)
    given = {**third, "deployments": document.with_name("deployments.csv")}
    document.write_text(document.read_text().replace("Bear Alarm", "Agouti"))
    for options in (third, given):
        with pytest.raises(OptionError, match=r"is a package of another program.* --out, --csv or --coco"):
            camtrap_options(False, [document], **options)


@pytest.mark.usefixtures("site")
def test_the_same_command_writes_its_own_package_again_and_no_other(tmp_path: Path) -> None:
    to: dict[str, Any] = {"camtrap_dp": tmp_path / "bears", "contributor": ANA}
    for again in (False, True):
        camtrap = camtrap_options(**to, again=again)
        assert camtrap is not None
        camtrap.write([result("A/1.JPG")])
    assert (tmp_path / "bears.old" / "datapackage.json").exists()
    with pytest.raises(OptionError, match="is there already"):
        camtrap_options(**to)
    package = tmp_path / "bears" / "datapackage.json"
    package.write_text(package.read_text().replace("Bear Alarm", "Agouti"))
    with pytest.raises(OptionError, match="is there already"):
        camtrap_options(**to, again=True)


def test_folder_at_hand_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: None) -> None:
    (tmp_path / "bears").mkdir()
    monkeypatch.chdir(tmp_path / "bears")
    camtrap = camtrap_options(camtrap_dp=Path(), contributor=ANA)
    assert camtrap is not None
    assert camtrap.folder.name == "bears"


@pytest.mark.usefixtures("site")
def test_exact_places_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        camtrap_options(camtrap_dp=tmp_path / "bears", contributor=ANA)
        assert not caplog.records
        camtrap_options(camtrap_dp=tmp_path / "bears", contributor=ANA, exact=True)
    assert "exact places of the cameras" in caplog.text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"exact": True}, "an option of Camtrap DP packages needs one; give --camtrap-dp FOLDER too"),
        ({"camtrap_dp": "bears"}, 'give --contributor "Name <mail>"'),
        ({"camtrap_dp": "bears", "contributor": ["  "]}, "names nobody"),
        ({"camtrap_dp": "bears", "contributor": ANA}, "give --deployments deployments.csv with the columns"),
        ({"camtrap_dp": "no/bears", "contributor": ANA}, "there is no folder"),
        ({"camtrap_dp": "bears", "contributor": ANA, "timezone": "CEST+1"}, "--timezone: 'CEST+1' is no time zone"),
        ({"camtrap_dp": "bears", "contributor": ANA, "deployments": "none.csv"}, "none.csv: there is no such table"),
    ],
)
def test_mistake_is_one_sentence(tmp_path: Path, given: dict[str, Any], sentence: str) -> None:
    for name in ("camtrap_dp", "deployments"):
        if name in given:
            given = {**given, name: tmp_path / given[name]}
    with pytest.raises(OptionError) as caught:
        camtrap_options(**given)
    assert sentence in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nothing_asked_for_is_no_package() -> None:
    assert camtrap_options() is None
