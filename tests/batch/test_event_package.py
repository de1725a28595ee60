"""`events export --camtrap-dp`: an alarm's bears as a Camtrap DP package, by the model or by who reviewed them."""

import csv
import errno
import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest

from edge.batch.camtrap_dp import About
from edge.batch.camtrap_reader import read_package
from edge.batch.deployments import Deployment
from edge.batch.event_package import write_events
from edge.errors import OptionError
from edge.record.history import JournalReader
from tests.helpers.camtrap_report import faultless
from tests.helpers.small_disk import there
from tests.helpers.state_folder import StateFolder, events_of

A, B, C, D, E = (digit * 32 for digit in "abcde")
ASK = ("--contributor", "Anna <anna@example.org>")


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch, time_zone):
    """A config that says where the cameras stand."""
    time_zone("Europe/Berlin")
    config = tmp_path / "bear-alarm.yml"
    config.write_text("site: {name: Upper meadow, latitude: 45.617, longitude: 14.513, country: SI}\n")
    monkeypatch.setenv("BEAR_ALARM_CONFIG", str(config))
    return config


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path / "state")


@pytest.fixture
def ask(state, capsys):
    return partial(events_of, state, capsys)


@pytest.fixture
def package(ask, tmp_path):
    """The tables of the package that `events export WORDS` writes, by name, with a row of deployments by its id."""

    def exported(*words):
        ask("export", "--camtrap-dp", tmp_path / "dp", *ASK, *(words or ("--since", "2026-11-01")))
        found = {}
        for name in ("deployments", "media", "observations"):
            with (tmp_path / "dp" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
                found[name] = list(csv.DictReader(file))
        return found

    return exported


def cells(row, *names):
    return tuple(row[name] for name in names)


def test_each_bear_is_an_observation_of_an_event_with_its_picture_and_clip(state, package, tmp_path):
    state.bear(A, model="model-1", evidence=state.evidence(A, **{"plain.jpg": b"plain", "crop.jpg": b"crop"}))
    state.event(B, "new", 60.0, kind="camera", label="gone")
    state.bear(C, 3600.0, camera="gate")  # without evidence
    tables = package()
    first, second = tables["observations"]
    assert cells(first, "eventID", "deploymentID", "observationLevel") == (A, "yard", "event")
    assert cells(first, "observationType", "scientificName", "count") == ("animal", "Ursus arctos", "")
    assert cells(first, "eventStart", "eventEnd") == ("2026-11-24T03:12:07+01:00", "2026-11-24T03:12:49+01:00")
    assert cells(first, "classificationMethod", "classifiedBy", "classificationProbability") == (
        "machine", "model-1", "0.98",
    )  # fmt: skip
    assert cells(second, "deploymentID", "eventStart") == ("gate", "2026-11-24T04:12:07+01:00")
    assert [cells(each, "deploymentID", "timestamp", "fileMediatype", "filePublic") for each in tables["media"]] == [
        ("yard", "2026-11-24T03:12:07+01:00", "image/jpeg", "false"),
        ("yard", "2026-11-24T03:12:07+01:00", "video/mp4", "false"),
    ]
    assert [(tmp_path / "dp" / each["filePath"]).read_bytes() for each in tables["media"]] == [b"plain", b"film"]
    assert [cells(each, "deploymentID", "latitude", "longitude") for each in tables["deployments"]] == [
        ("yard", "45.6", "14.5"), ("gate", "45.6", "14.5"),
    ]  # fmt: skip
    assert tables["deployments"][0]["timestampIssues"] == ""
    assert [each.row.verdict for each in read_package(tmp_path / "dp" / "datapackage.json")] == ["bear", "bear"]


def test_a_note_that_may_name_the_place_goes_with_exact_places_alone(state, ask, package, tmp_path):
    state.bear(A, evidence=state.evidence(A))
    ask("review", A, "--wrong", "--note", "at 45.61712, 14.51333", "--by", "root")
    (row,) = package(A)["observations"]
    assert row["classifiedBy"] == "a person"
    assert not [file for file in (tmp_path / "dp").glob("*.*") if re.search("45.61|14.51", file.read_text("utf-8"))]
    (row,) = package(A, "--exact", "--force")["observations"]
    assert row["observationComments"] == "no bear (at 45.61712, 14.51333)"


@pytest.mark.parametrize(
    ("review", "kind", "scientific", "comment", "verdict"),
    [
        (["--confirmed"], "animal", "Ursus arctos", "brown bear", "bear"),
        (["--label", "polar_bear"], "animal", "Ursidae", "bear (polar bears are unusual in SI; ", "bear"),
        (["--label", "fox"], "animal", "", "no bear: fox", "none"),
        (["--label", "person"], "human", "", "no bear: person", "none"),
        (["--label", "bear"], "animal", "Ursidae", "bear", "bear"),
        (["--label", "grizzly"], "animal", "Ursus arctos", "brown bear", "bear"),
        (["--label", "empty"], "blank", "", "no bear: empty", "none"),
        (["--wrong", "--note", "a stump"], "unknown", "", "no bear", "none"),
        (["--unsure"], "unknown", "", "maybe a bear: a person could not tell", "maybe"),
    ],
)
def test_a_review_makes_it_a_person_s_observation(
    state, ask, package, tmp_path, review, kind, scientific, comment, verdict
):
    state.bear(A, evidence=state.evidence(A))
    ask("review", A, *review, "--by", "anna")
    (row,) = package(A)["observations"]
    assert cells(row, "observationType", "scientificName", "classificationMethod", "classifiedBy") == (
        kind, scientific, "human", "anna",
    )  # fmt: skip
    assert row["observationComments"].startswith(comment)
    assert row["classificationProbability"] == ""
    again = next(read_package(tmp_path / "dp" / "datapackage.json"))
    assert (again.row.verdict, again.human, again.by) == (verdict, True, "anna")


def test_a_bear_that_the_alarm_was_not_sure_of_is_one_of_the_family(state, package):
    state.bear(A, species="bear")
    (row,) = package(A)["observations"]
    assert cells(row, "scientificName", "observationComments") == ("Ursidae", "bear")


def test_a_clock_that_was_never_set_is_said_of_its_deployment_alone(state, package, tmp_path, caplog):
    state.run("never")
    state.bear(A, boot_id="never", clock_synced=False)
    state.bear(B, camera="gate")
    table = tmp_path / "deployments.csv"
    table.write_text(
        "deploymentID,latitude,longitude,timezone,deploymentStart\n"
        "yard,46,14,Z,2026-12-20\ngate,46,14,Z,\n"  # the yard's clock shows a time before
    )
    rows = package("--since", "2026-11-01", "--deployments", table)["deployments"]
    assert {row["deploymentID"]: row["timestampIssues"] for row in rows} == {"yard": "true", "gate": ""}
    assert cells(rows[0], "deploymentStart", "deploymentEnd") == ("2026-12-20T00:00:00+00:00",) * 2
    assert "yard: the package has the time of the last event for deploymentEnd; " in caplog.text
    assert "gate: the package has the times of the first and the last event for deploymentStart and" in caplog.text


def test_a_table_of_deployments_names_the_cameras(state, package, tmp_path):
    state.bear(A)
    table = tmp_path / "deployments.csv"
    table.write_text(
        "deploymentID,latitude,longitude,timezone,deploymentStart,deploymentEnd,locationName\n"
        "yard,46.05,14.55,+02:00,2026-11-01,2026-11-30,Hives\n"
    )
    tables = package(A, "--deployments", table, "--exact")
    assert cells(tables["deployments"][0], "latitude", "deploymentStart", "deploymentEnd", "locationName") == (
        "46.05", "2026-11-01T00:00:00+02:00", "2026-11-30T23:59:59+02:00", "Hives",
    )  # fmt: skip
    assert tables["observations"][0]["eventStart"] == "2026-11-24T04:12:07+02:00"


def test_what_cannot_go_into_a_package_is_one_sentence_and_nothing_is_written(state, ask, site, tmp_path):
    state.bear(A)
    state.event(B, "new", 60.0, kind="camera", label="gone")
    table = tmp_path / "deployments.csv"
    table.write_text("deploymentID,latitude,longitude,deploymentEnd\nyards,46,14,\nyard,46,14,2026-06-01T00:00:00Z\n")
    gate = tmp_path / "gate.csv"
    gate.write_text("deploymentID,latitude,longitude\ngate,46,14\n")
    shifted = tmp_path / "shifted.csv"
    shifted.write_text("deploymentID,latitude,longitude,shift\nyard,46,14,+1h\n")
    folder = tmp_path / "dp"
    to = ("export", A, "--camtrap-dp", folder, *ASK)
    for words, sentence in (
        (("export", A), "give --out for a zip, or --camtrap-dp for a package"),
        ((*to, "--out", tmp_path / "e.zip"), "give --out for a zip, or --camtrap-dp for a package"),
        (("export", B, "--camtrap-dp", folder, *ASK), "none of these events is a bear"),
        ((*to, "--deployments", shifted), "shift in the row of yard is for the pictures of a card"),
        ((*to, "--deployments", gate), "the table of deployments has no row for yard; write one with the camera's"),
        ((*to, "--deployments", table), "events of yard from 2026-11-24 to 2026-11-24 lie outside its deployment"),
    ):
        with pytest.raises(OptionError, match=sentence):
            ask(*words)
    site.write_text("site: {country: SI}\n")
    with pytest.raises(OptionError, match="where the cameras stood is not known"):
        ask(*to)
    assert not folder.exists()
    assert not list(tmp_path.glob(".dp*"))


def fill(disk):
    """Export one event to a small disk, then one with a clip that is too large; return what is said and left there."""
    state = StateFolder(Path(disk).with_name("state of all"))
    place = [Deployment("yard", 46, 14)]
    about = About([{"title": "Anna", "role": "contact"}])
    for id_, clip in ((A, b"film"), (B, bytes(1 << 20))):
        state.bear(id_, evidence=state.evidence(id_, **{"clip.mp4": clip}))
    folder = Path(disk) / "dp"
    with JournalReader(state.path) as journal:
        first, second = journal.incidents()
    write_events(folder, [first], state.folder, place, about)
    before = (folder / "datapackage.json").read_bytes()
    try:
        write_events(folder, [second], state.folder, place, about, force=True)
    except OptionError as error:
        same = (folder / "datapackage.json").read_bytes() == before
        return [str(error), same, sorted(each.name for each in Path(disk).iterdir())]
    return []


@pytest.mark.slow
@pytest.mark.needs_tool("unshare")
def test_a_disk_that_is_full_half_way_leaves_the_old_package(tmp_path):
    sentence, same, left = there(fill, tmp_path / "disk", 500)
    assert "dp: cannot be written (No space left on device)" in sentence
    assert (same, left) == (True, ["dp"])


def test_evidence_that_is_deleted_meanwhile_is_named_and_the_event_stays(state, package, monkeypatch, caplog):
    state.bear(A, evidence=state.evidence(A))

    def gone(source, target):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(shutil, "copyfile", gone)
    tables = package(A)
    assert (len(tables["observations"]), tables["media"]) == (1, [])
    assert "alarm.jpg: was deleted meanwhile" in caplog.text


def test_the_package_of_events_is_valid(state, ask, package, tmp_path):
    state.bear(A, model="model-1", evidence=state.evidence(A))
    state.bear(B, 600.0, camera="by the bridge, 2", evidence=state.evidence(B))
    for id_, review in ((C, ["--label", "fox"]), (D, ["--unsure"]), (E, ["--wrong", "--note", "a stump,\nof oak"])):
        state.bear(id_, 3600.0 * int(id_[0], 16), evidence=state.evidence(id_))
        ask("review", id_, *review, "--by", "anna")
    package()
    assert faultless(tmp_path / "dp")
    said = json.loads((tmp_path / "dp" / "datapackage.json").read_text(encoding="utf-8"))
    assert said["contributors"] == [{"title": "Anna", "email": "anna@example.org", "role": "contact"}]
    assert said["project"]["observationLevel"] == ["event"]
