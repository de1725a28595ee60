"""Camtrap DP packages: valid by the standard's own schemas, with events, blurred places and times with zones."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.batch.camtrap_dp import FREE, LOCK, TABLES, About, Package, new_package, observed, write_package
from edge.batch.camtrap_reader import read_package
from edge.batch.deployments import SCHEMAS, Deployment
from edge.batch.results import Result
from edge.cli.camtrap_options import Camtrap
from edge.cli.classify_formats import Formats, check_names
from edge.detect.stills import Row, Verdict
from edge.errors import OptionError
from edge.files import try_lock
from tests.helpers.camtrap_report import faultless, report_of
from tests.helpers.command import ROOT
from tests.helpers.small_disk import there

ABOUT = About([{"title": "Ana Novak", "email": "ana@example.org", "role": "contact"}], country="SI")
PLACE = Deployment("A03", 46.0569, 14.5058, zone="Europe/Ljubljana")
BEAR: dict[str, Any] = {"verdict": "bear", "label": "brown_bear", "score": 0.9}


def seen(
    file: str = "A03/IMG_1.JPG",
    time: str = "2024-05-03T21:14:05",
    verdict: Verdict | None = "none",
    label: str = "no_bear",
    score: float = 0.1,
    **said: Any,
) -> Result:
    """Return a picture's result, by the model unless it says otherwise."""
    box = (0.1, 0.2, 0.3, 0.4) if verdict in {"bear", "maybe"} else None
    row = Row(file, time, "A03", label, None if verdict is None else score, box, verdict, None, "")
    return Result(row, **{"by": "lite0 1.0", "at": "2024-06-01T08:00:00+00:00", **said})


def written(folder: Path, *results: Result, deployment: Deployment = PLACE, about: About = ABOUT) -> Package:
    """Write a package of one deployment."""
    return write_package(folder, [deployment], results, about)


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Return a table's rows."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def document(folder: Path) -> dict[str, Any]:
    """Return what the package says of itself."""
    found: dict[str, Any] = json.loads((folder / "datapackage.json").read_bytes())
    return found


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package of two deployments with bears, what may be one, and what people said."""
    results = [
        seen("A03/IMG_1.JPG", "2024-05-03T21:14:05"),
        seen("A03/IMG_2.JPG", "2024-05-03T21:14:07", **BEAR, classes={"brown_bear": 0.8, "black_bear": 0.1}),
        seen("A03/IMG_3.JPG", "2024-05-04T05:00:00", "maybe", "black_bear", 0.30012, classes={"black_bear": 0.991}),
        seen("A03/IMG_4.JPG", "2024-05-05T05:00:00", None, ""),
        seen('B, Črni vrh/ob "potoku"/1.png', "2024-07-05T05:00:00", label="fox", human=True, by="ana"),
        seen('B, Črni vrh/ob "potoku"/2.png', "2024-07-06T05:00:00", **BEAR, human=True, by="ana"),
        seen('B, Črni vrh/ob "potoku"/3.png', "2024-07-07T05:00:00", label="person", human=True, by="ana"),
    ]
    second = Deployment("B, Črni vrh", -0.02, 14.2, zone="+02:00", more={"featureType": "culvert", "baitUse": "false"})
    write_package(tmp_path / "bears", [PLACE, second], results, ABOUT)
    return tmp_path / "bears"


def test_frictionless_finds_nothing_wrong_in_a_package_with_no_network(package: Path) -> None:
    assert faultless(package)

    # The same validator sees what is wrong: a picture of no deployment.
    media = package / "media.csv"
    media.write_text(media.read_text("utf-8").replace(",A03,", ",A04,", 1), "utf-8")
    report, _ = report_of(package)
    assert "foreign-key" in {row[0] for row in report.flatten(["type"])}


def test_profile_accepts_what_the_package_says_of_itself(package: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    profile = json.loads((SCHEMAS / "camtrap-dp-profile.json").read_bytes())
    own = profile["allOf"][1]
    own["$defs"] = profile["$defs"]
    own["properties"]["spatial"].pop("$ref")  # GeoJSON's own schema is on the web
    jsonschema.Draft4Validator.check_schema(own)
    assert not list(jsonschema.Draft7Validator(own).iter_errors(document(package)))
    assert document(package)["taxonomic"] == [
        {"scientificName": "Ursus arctos", "taxonRank": "species", "vernacularNames": {"eng": "brown bear"}}
    ]
    assert document(package)["temporal"] == {"start": "2024-05-03", "end": "2024-07-07"}


def test_pictures_less_than_two_minutes_apart_are_one_event_with_one_observation(tmp_path: Path) -> None:
    package = written(
        tmp_path / "bears",
        seen("A03/3.JPG", "2024-05-03T10:04:59"),  # 120 s after the second
        seen("A03/2.JPG", "2024-05-03T10:02:59", **BEAR),
        seen("A03/1.JPG", "2024-05-03T10:01:00"),  # 119 s before it
    )
    events = [each for each in table(tmp_path / "bears", "observations") if each["observationLevel"] == "event"]
    assert [(each["eventStart"], each["eventEnd"], each["observationType"]) for each in events] == [
        ("2024-05-03T10:01:00+02:00", "2024-05-03T10:02:59+02:00", "animal"),
        ("2024-05-03T10:04:59+02:00", "2024-05-03T10:04:59+02:00", "unclassified"),
    ]
    assert (package.events, package.bears) == (2, 1)
    single = [each for each in table(tmp_path / "bears", "observations") if each["observationLevel"] == "media"]
    # Only in an event with a bear each picture says what it shows.
    assert [(each["eventID"], each["bboxX"], each["observationType"]) for each in single] == [
        (events[0]["eventID"], "", "unclassified"),
        (events[0]["eventID"], "0.1", "animal"),
    ]
    media = [each["mediaID"] for each in table(tmp_path / "bears", "media")]
    assert [each["mediaID"] for each in single] == media[:2]
    assert [each["filePath"] for each in table(tmp_path / "bears", "media")] == ["A03/1.JPG", "A03/2.JPG", "A03/3.JPG"]


@pytest.mark.parametrize(
    ("result", "kind", "name", "comment", "method"),
    [
        (seen(**BEAR), "animal", "Ursus arctos", "brown bear", "machine"),
        (seen(**BEAR, classes={"brown_bear": 0.5, "black_bear": 0.4}), "animal", "Ursidae", "bear", "machine"),
        (
            seen(**BEAR, classes={"brown_bear": 0.5, "black_bear": 0.4}, human=True),
            "animal",
            "Ursus arctos",
            "",
            "human",
        ),
        (seen(verdict="bear", label="black_bear"), "animal", "Ursidae", "unusual in SI", "machine"),
        (seen(verdict="maybe", label="brown_bear"), "unknown", "", "a person should look", "machine"),
        (seen(), "unclassified", "", "no bear found", "machine"),
        (seen(verdict=None, label=""), "unclassified", "", "could not be read", ""),
        (seen(label="fox", human=True), "animal", "", "no bear: fox", "human"),
        (seen(label="person", human=True), "human", "", "no bear: person", "human"),
        (seen(label="teddy_bear", human=True), "unknown", "", "no bear: teddy bear", "human"),
        (seen(label="", human=True), "unknown", "", "no bear", "human"),
        (seen(verdict="maybe", label="", human=True), "unknown", "", "a person could not tell", "human"),
        (seen(label="empty", human=True), "blank", "", "no bear: empty", "human"),
        (seen(label="person"), "human", "", "no bear: person", "machine"),
        (seen(label="vehicle"), "vehicle", "", "no bear: vehicle", "machine"),
        (seen(label="red fox"), "animal", "", "no bear: red fox", "machine"),
        (seen(label="brown_bear"), "unclassified", "", "no bear found", "machine"),  # a weak guess
        (seen(label="empty"), "unclassified", "", "no bear found", "machine"),
    ],
)
def test_observation_says_what_was_seen_and_by_whom(
    result: Result, kind: str, name: str, comment: str, method: str
) -> None:
    cells = observed(result, "SI")
    assert (cells["observationType"], cells.get("scientificName", "")) == (kind, name)
    assert comment in cells["observationComments"]
    assert cells.get("classificationMethod", "") == method
    # A person's word has no probability, and what is no bear has none of being one.
    assert ("classificationProbability" in cells) == (method == "machine" and result.row.verdict != "none")
    assert "no_bear" not in str(cells)


@pytest.mark.parametrize(
    ("result", "probability", "tags"),
    [
        (seen(**BEAR, classes={"brown_bear": 0.8, "black_bear": 0.1}), "0.8", "label:brown_bear|score:0.9"),
        (seen(**BEAR, classes={"brown_bear": 0.5, "black_bear": 0.4}), "0.9", "label:bear|score:0.9"),
        (
            seen(verdict="maybe", label="animal", score=0.9),
            None,
            "label:animal|score:0.9",
        ),  # the detector's, of an animal
        (seen(verdict="maybe", label="no_bear", score=0.3), "0.3", "label:bear|score:0.3"),
        (seen(label="teddy_bear", human=True), None, "label:teddy_bear|verdict:none"),
    ],
)
def test_probability_is_of_what_is_named(result: Result, probability: str | None, tags: str) -> None:
    cells = observed(result)
    assert (cells.get("classificationProbability"), cells["observationTags"]) == (probability, tags)


def test_word_of_a_person_goes_before_a_maybe_and_a_bear_before_every_other_animal(tmp_path: Path) -> None:
    maybe, fox = seen("A03/1.JPG", verdict="maybe", label="brown_bear"), seen("A03/2.JPG", label="fox", human=True)
    written(tmp_path / "fox", maybe, fox)
    written(tmp_path / "bear", maybe, fox, seen("A03/3.JPG", **BEAR))
    none, program = seen("A03/0.JPG"), seen("A03/1.JPG", label="red fox")
    written(tmp_path / "program", none, program)
    said = [table(tmp_path / name, "observations")[0] for name in ("fox", "bear", "program")]
    assert [each["observationLevel"] for each in said] == ["event", "event", "event"]
    assert [each["observationComments"] for each in said] == ["no bear: fox", "brown bear", "no bear: red fox"]
    assert not said[1]["bboxX"]


def test_places_are_rounded_unless_they_are_to_be_exact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = dict.fromkeys((*FREE, "cameraID", "habitat"), "-0.0421, 14.5058")
    deployment = dataclasses.replace(PLACE, latitude=-0.0421, more=words | {"coordinateUncertainty": "30"})
    deployment.more["habitat"] = "beeches"
    written(tmp_path / "rounded", seen(), deployment=deployment)
    assert (
        "cameraID, deploymentComments, deploymentGroups, deploymentTags, locationID, locationName; --exact"
        in caplog.text
    )
    written(tmp_path / "exact", seen(), deployment=deployment, about=dataclasses.replace(ABOUT, exact=True))
    rows = [table(tmp_path / name, "deployments")[0] for name in ("rounded", "exact")]
    assert [(row["latitude"], row["longitude"], row["coordinateUncertainty"]) for row in rows] == [
        ("0.0", "14.5", "15700"),
        ("-0.0421", "14.5058", "30"),
    ]
    rounded, exact = document(tmp_path / "rounded"), document(tmp_path / "exact")
    assert (rounded["coordinatePrecision"], exact["coordinatePrecision"]) == (0.1, 0.0001)
    assert "rounded to 0.1 degree" in rounded["description"]
    assert "as they were given" in exact["description"]
    assert rounded["spatial"] == {"type": "Point", "coordinates": [14.5, 0.0]}
    assert [row["habitat"] for row in rows] == ["beeches", "beeches"]
    assert rows[1]["locationName"] == "-0.0421, 14.5058"
    for file in (tmp_path / "rounded").iterdir():
        assert "0421" not in file.read_text("utf-8"), file


def test_clock_of_a_camera_does_not_change_for_summer_time(tmp_path: Path) -> None:
    written(
        tmp_path / "bears",
        seen("A03/1.JPG", "2024-03-30T12:00:00"),
        seen("A03/2.JPG", "2024-04-01T12:00:00"),
        seen("A03/3.JPG", "2024-04-02T12:00:00+02:00"),  # says its own
    )
    times = [each["timestamp"] for each in table(tmp_path / "bears", "media")]
    assert times == ["2024-03-30T12:00:00+01:00", "2024-04-01T12:00:00+01:00", "2024-04-02T12:00:00+02:00"]


def test_zone_that_nobody_gives_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"time zone .* not known \(A03\); give --timezone, such as"):
        written(tmp_path / "bears", seen(), deployment=dataclasses.replace(PLACE, zone=""))
    assert not list(tmp_path.iterdir())
    write_package(tmp_path / "bears", [dataclasses.replace(PLACE, zone="")], [seen()], ABOUT, zone="+05:30")
    assert table(tmp_path / "bears", "media")[0]["timestamp"] == "2024-05-03T21:14:05+05:30"


def test_clock_that_is_a_year_off_is_named_with_the_shift_that_mends_it(tmp_path: Path) -> None:
    set_up = dataclasses.replace(PLACE, start=datetime(2024, 5, 1, 8, tzinfo=UTC), end=datetime(2024, 8, 1, tzinfo=UTC))
    pictures = [seen(f"A03/{day}.JPG", f"2023-05-{day:02}T10:00:00") for day in (5, 6, 7)]
    with pytest.raises(
        OptionError,
        match=r"3 of 3 pictures were taken before deploymentStart 2024-05-01, .* write \+366d under shift in the row",
    ):
        written(tmp_path / "bears", *pictures, deployment=set_up)
    assert not list(tmp_path.iterdir())

    written(tmp_path / "bears", *pictures, deployment=dataclasses.replace(set_up, shift=timedelta(days=366)))
    assert table(tmp_path / "bears", "media")[0]["timestamp"] == "2024-05-05T10:00:00+02:00"

    known = dataclasses.replace(set_up, more={"timestampIssues": "true"})
    written(tmp_path / "known", *pictures, deployment=known)
    assert table(tmp_path / "known", "media")[0]["timestamp"] == "2023-05-05T10:00:00+02:00"

    # Of a package of another program: no clock of a camera, so no shift.
    with pytest.raises(OptionError, match=r"A03: 1 of 1 pictures was taken before .*\); correct deploymentStart"):
        written(tmp_path / "again", seen(time="2023-05-05T10:00:00+02:00"), deployment=set_up)


def test_wrong_clock_of_a_camera_that_was_moved_needs_one_shift_in_all_its_rows(tmp_path: Path) -> None:
    moves = [datetime(2024, 5, day, tzinfo=UTC) for day in (1, 10, 20)]
    hut, ford = (
        dataclasses.replace(PLACE, id=name, folder="A03", start=start, end=end)
        for name, start, end in zip(("hut", "ford"), moves[:2], moves[1:], strict=True)
    )
    pictures = [seen(f"A03/{day}.JPG", f"2023-05-{day:02}T10:00:00") for day in (5, 15)]
    with pytest.raises(OptionError, match=r"\); write the same shift in every row of folder A03, or correct"):
        write_package(tmp_path / "bears", [hut, ford], pictures, ABOUT)
    odd = seen("A03/9.JPG", "9999-12-31T23:59:59")
    both = [dataclasses.replace(each, shift=timedelta(days=366)) for each in (hut, ford)]
    write_package(tmp_path / "bears", both, [*pictures, odd], ABOUT)
    assert [row["deploymentID"] for row in table(tmp_path / "bears", "media")] == ["hut", "ford"]


@pytest.mark.parametrize(
    ("time", "words"),
    [("2000-01-01T00:03:00", "before 2005"), ("2100-01-01T00:00:00", "in the future")],
)
def test_clock_that_cannot_be_right_is_named_where_no_start_is_known(tmp_path: Path, time: str, words: str) -> None:
    with pytest.raises(OptionError, match=f"A03: 1 of 2 pictures was taken {words}, .*timestampIssues"):
        written(tmp_path / "bears", seen(), seen("A03/2.JPG", time))


def test_pictures_that_do_not_fit_are_counted_and_the_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        written(
            tmp_path / "bears",
            seen(),
            seen("A03/clip.mp4", ""),
            seen("A03/2.JPG", "0001-01-01T00:00:00"),
            seen("A03/a..b.JPG"),
            seen("C01/DCIM/100EK113/1.JPG"),
            seen("C01/DCIM/101EK113/2.JPG"),
        )
    assert "2 of 6 pictures are not in the package, for their folder is in no row: C01 (2 pictures); " in caplog.text
    assert "; add a row with folder C01\n" in caplog.text
    assert "2 of 6 pictures: not in the package, for each has no time: A03/clip.mp4, A03/2.JPG" in caplog.text
    assert "1 of 6 pictures: not in the package, for each has a path that" in caplog.text
    assert len(table(tmp_path / "bears", "media")) == 1


def test_row_without_pictures_beside_pictures_without_a_row_is_a_mistake(tmp_path: Path) -> None:
    places = [PLACE, dataclasses.replace(PLACE, id="A02")]
    with pytest.raises(OptionError, match=r"A02 has no pictures, and A02x \(1 picture\) is in no deployment"):
        write_package(tmp_path / "bears", places, [seen(), seen("A02x/DCIM/1.JPG")], ABOUT)


def test_row_without_pictures_that_has_its_times_is_effort_and_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start, end = (datetime(2024, month, 1, tzinfo=UTC) for month in (5, 6))
    places = [PLACE, dataclasses.replace(PLACE, id="A02", start=start, end=end)]
    check_names(Formats(camtrap_dp=Camtrap(tmp_path, places, ABOUT)), ["A03/1.JPG", "1.JPG"])
    write_package(tmp_path / "bears", places, [seen(), seen("1.JPG")], ABOUT)
    assert [row["deploymentID"] for row in table(tmp_path / "bears", "deployments")] == ["A03", "A02"]
    assert "their folder is in no row: . (1 picture)\n" in caplog.text


def test_clock_a_year_from_the_others_is_warned_of_where_no_start_is_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("A", "B", "C")
    places = [dataclasses.replace(PLACE, id=name) for name in names]
    results = [seen(f"{name}/1.JPG", f"{2023 if name == 'B' else 2024}-05-03T10:00:00") for name in names]
    write_package(tmp_path / "bears", places, results, ABOUT)
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "B: its pictures lie 366 days from those of the other deployments"
    ]


def test_pictures_of_no_deployment_at_all_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none of 2 pictures .*: A3 \(2 pictures\); .* \(it has A03\)"):
        written(tmp_path / "bears", seen("A3/1.JPG"), seen("A3/2.JPG"))
    with pytest.raises(OptionError, match="none of 1 picture can go into the package, for each has no time, such"):
        written(tmp_path / "bears", seen(time=""))
    with pytest.raises(OptionError, match="is twice in the results"):
        written(tmp_path / "bears", seen(), seen())
    assert not list(tmp_path.iterdir())


def test_files_named_from_the_root_are_named_relative_to_it(tmp_path: Path) -> None:
    written(tmp_path / "bears", seen("/cards/may/A03/1.JPG"), seen("/cards/june/A03/1.JPG", "2024-06-03T10:00:00"))
    assert [each["filePath"] for each in table(tmp_path / "bears", "media")] == [
        "cards/may/A03/1.JPG",
        "cards/june/A03/1.JPG",
    ]


def test_package_that_is_there_is_replaced_by_force_and_kept(package: Path) -> None:
    before = (package / "media.csv").read_bytes()
    with pytest.raises(OptionError, match="replace it with --force"):
        written(package, seen())
    write_package(package, [PLACE], [seen()], ABOUT, force=True)
    assert len(table(package, "media")) == 1
    assert (package.with_name("bears.old") / "media.csv").read_bytes() == before
    write_package(package, [PLACE], [seen()], ABOUT, force=True)  # and once more

    pictures = package.with_name("pictures")
    pictures.mkdir()
    (pictures / "1.JPG").write_bytes(b"mine")
    with pytest.raises(OptionError, match="holds something else"):
        write_package(pictures, [PLACE], [seen()], ABOUT, force=True)
    assert (pictures / "1.JPG").read_bytes() == b"mine"


def test_folder_at_hand_can_be_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bears").mkdir()
    monkeypatch.chdir(tmp_path / "bears")
    written(Path(), seen())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bears"]
    assert len(table(tmp_path / "bears", "media")) == 1


def test_country_that_is_none_is_said_before_a_picture_is_read() -> None:
    with pytest.raises(OptionError, match="'Slovenia' is no country's code"):
        dataclasses.replace(ABOUT, country="Slovenia")


def test_error_while_a_package_is_made_leaves_the_old_one_and_nothing_else(package: Path) -> None:
    before = {file.name: file.read_bytes() for file in package.iterdir()}

    def stopped() -> Iterator[Result]:
        yield seen()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_package(package, [PLACE], stopped(), ABOUT, force=True)
    assert {file.name: file.read_bytes() for file in package.iterdir()} == before
    assert list(package.parent.iterdir()) == [package]


def test_what_a_killed_process_left_is_removed_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".bears.1.part", tmp_path / ".bears.2.part"
    for folder in (dead, alive):
        folder.mkdir()
    (dead / LOCK).touch()
    with (alive / LOCK).open("w") as file:
        assert try_lock(file.fileno())
        written(tmp_path / "bears", seen())
        assert sorted(each.name for each in tmp_path.iterdir()) == [alive.name, "bears"]


def test_package_that_another_process_wrote_meanwhile_stays(tmp_path: Path) -> None:
    def quicker() -> Iterator[Result]:
        written(tmp_path / "other", seen(), seen("A03/2.JPG"))
        (tmp_path / "other").rename(tmp_path / "bears")
        yield seen()

    with pytest.raises(OptionError, match="is there already"):
        write_package(tmp_path / "bears", [PLACE], quicker(), ABOUT)
    assert len(table(tmp_path / "bears", "media")) == 2


def test_package_that_is_read_and_written_again_is_the_same(package: Path) -> None:
    again = package.with_name("again")
    deployments = [PLACE, Deployment("B, Črni vrh", -0.02, 14.2, more={"featureType": "culvert", "baitUse": "false"})]
    write_package(again, deployments, read_package(package / "datapackage.json"), ABOUT)
    scores = {each.row.file: each.row.score for each in read_package(package / "datapackage.json")}
    assert (scores["A03/IMG_2.JPG"], scores["A03/IMG_3.JPG"]) == (0.9, 0.30012)
    for name in TABLES:
        assert table(again, name) == table(package, name), name
    created = {"created": document(package)["created"]}
    assert document(again) | created == document(package)


def many(count: int) -> Iterator[Result]:
    """Yield the results of so many pictures, one a minute."""
    begin = datetime(2024, 5, 1)
    for number in range(count):
        yield seen(f"A03/{number}.JPG", (begin + timedelta(minutes=number)).isoformat())


def peak(folder: str, count: int) -> int:
    """Return the most bytes in memory while a package of so many pictures is written."""
    tracemalloc.start()
    write_package(Path(folder) / str(count), [PLACE], many(count), ABOUT)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_stays_the_same_however_many_pictures_there_are(tmp_path: Path) -> None:
    # A process of its own: what another test left running would be counted here. The first brings the imports.
    code = "import sys; from tests.batch.test_camtrap_dp import peak"
    code += "; print(*[peak(sys.argv[1], count) for count in (100, 1_000, 8_000)])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    _, few, all_ = map(int, done.stdout.split())
    assert all_ < 1.2 * few


def test_time_grows_with_the_pictures_and_not_with_their_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    real = sqlite3.connect

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        db = real(path, **options)
        db.set_progress_handler(count, 100)
        return db

    def counted(count: int) -> int:
        nonlocal steps
        steps = 0
        begin = datetime(2024, 5, 1)
        times = [(begin + timedelta(minutes=3 * number)).isoformat() for number in range(count)]
        written(tmp_path / str(count), *(seen(f"A03/{time}.JPG", time, **BEAR) for time in times))
        return steps

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert counted(1_000) < 6 * counted(200)


def fill(disk: str) -> list[str]:
    """Write packages to a small disk until one is too large; return what is said, and what lies there then."""
    folder = Path(disk) / "bears"
    write_package(folder, [PLACE], many(10), ABOUT)
    try:
        write_package(folder, [PLACE], many(20_000), ABOUT, force=True)
    except OptionError as error:
        return [str(error), *(each.name for each in Path(disk).iterdir()), str(len(table(folder, "media")))]
    return []


@pytest.mark.slow
@pytest.mark.needs_tool("unshare")
def test_full_disk_in_the_middle_is_one_sentence_and_nothing_is_lost(tmp_path: Path) -> None:
    sentence, *left = there(fill, tmp_path / "disk", 4_000)
    assert "cannot be written (" in sentence
    assert " full" in sentence or "No space left" in sentence
    assert left == ["bears", "10"]


def test_package_of_events_holds_their_files(tmp_path: Path) -> None:
    with new_package(tmp_path / "events", ABOUT) as package:
        (package.folder / "media").mkdir()
        (package.folder / "media" / "1.mp4").write_bytes(b"clip")
        now = datetime(2024, 5, 1, tzinfo=UTC)
        package.deployment(PLACE, now, now)
        package.media({"mediaID": "1", "deploymentID": "A03", "timestamp": now.isoformat(), "filePath": "media/1.mp4"})
    assert (tmp_path / "events" / "media" / "1.mp4").read_bytes() == b"clip"
    row = table(tmp_path / "events", "media")[0]
    assert (row["fileMediatype"], row["fileName"], row["filePublic"]) == ("video/mp4", "1.mp4", "false")
