"""A Camtrap DP package by another program becomes results: what holds for each picture, and what is wrong with it."""

import csv
import json
from datetime import timedelta

import pytest

from edge.batch import camtrap_reader
from edge.batch.camtrap_dp import About, write_package
from edge.batch.camtrap_reader import read_package
from edge.batch.deployments import Deployment
from edge.batch.results import ResultFiles, write_megadetector
from edge.errors import OptionError

MEDIA = [
    ("m1", "A", "2026-05-01T03:00:00+02:00", "A/1.jpg"),
    ("m2", "A", "2026-05-01T03:00:05+02:00", "A/2.jpg"),
    ("m3", "A", "2026-05-01T04:00:00+02:00", "A/3.jpg"),
    ("m4", "B", "2026-05-01T03:00:05+02:00", "B/4.mp4"),
]
SEEN = {
    "deploymentID": "A",
    "eventStart": "2026-05-01T01:00:00Z",
    "eventEnd": "2026-05-01T01:00:05Z",
    "observationType": "animal",
    "scientificName": "Ursus arctos",
    "classificationMethod": "machine",
    "classifiedBy": "model-1",
    "classificationTimestamp": "2026-06-01T00:00:00Z",
    "classificationProbability": "0.9",
}
COLUMNS = [*SEEN, "mediaID", "bboxX", "bboxY", "bboxWidth", "bboxHeight", "observationTags", "observationComments"]


def table(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns, *rows])


def package(folder, *observations, media=MEDIA, by="another program"):
    """Write the parts of a package that are read; return its datapackage.json."""
    table(folder / "media.csv", ["mediaID", "deploymentID", "timestamp", "filePath"], media)
    table(folder / "observations.csv", COLUMNS, [[each.get(name, "") for name in COLUMNS] for each in observations])
    resources = [{"name": name, "path": f"{name}.csv"} for name in ("media", "observations")]
    path = folder / "datapackage.json"
    path.write_text(json.dumps({"resources": resources, "sources": [{"title": by}]}))
    return path


def found(folder, *observations, **more):
    return {each.row.file: each for each in read_package(package(folder, *observations, **more))}


def test_an_event_holds_for_what_its_deployment_took_meanwhile(tmp_path):
    results = found(tmp_path, SEEN)
    bear = results["A/2.jpg"]
    assert list(results) == [file for *_, file in MEDIA]
    assert (bear.row.verdict, bear.row.label, bear.row.score, bear.row.camera) == ("bear", "brown_bear", 0.9, "A")
    assert bear.row.time == "2026-05-01T03:00:05+02:00"
    assert (bear.classes, bear.by, bear.human, bear.at) == (
        {"brown_bear": 0.9}, "model-1", False, "2026-06-01T00:00:00Z",
    )  # fmt: skip
    assert results["A/1.jpg"].row.verdict == "bear"
    for file in ("A/3.jpg", "B/4.mp4"):  # later, and elsewhere
        assert results[file].row.verdict is None
        assert results[file].row.problem == "nobody and no program has classified it"


def test_in_our_packages_a_picture_s_own_observation_says_all_and_has_a_box(tmp_path):
    box = {"bboxX": "0.1", "bboxY": "0.2", "bboxWidth": "0.3", "bboxHeight": "0.4"}
    fox = SEEN | box | {"mediaID": "m1", "scientificName": "Vulpes vulpes"}
    own = found(tmp_path, SEEN, fox, by="Bear Alarm")["A/1.jpg"].row
    assert (own.verdict, own.label, own.score, own.box) == ("none", "vulpes_vulpes", None, (0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize("by", ["Bear Alarm", "another program"])
def test_an_observation_of_one_picture_never_takes_the_bear_from_the_others(tmp_path, by):
    human = {"classificationMethod": "human", "classifiedBy": "Anna"}
    fox = SEEN | human | {"mediaID": "m1", "scientificName": "Vulpes vulpes"}
    results = found(tmp_path, SEEN | human, fox, by=by)
    assert (results["A/2.jpg"].row.verdict, results["A/2.jpg"].by) == ("bear", "Anna")
    assert results["A/1.jpg"].row.verdict == ("none" if by == "Bear Alarm" else "bear")


def test_of_two_events_of_an_alarm_the_later_one_holds_for_its_own_picture(tmp_path):
    wrong = {"classificationMethod": "human", "observationType": "unknown", "observationTags": "verdict:none"}
    second = SEEN | {"eventStart": "2026-05-01T01:00:03Z", "eventEnd": "2026-05-01T01:00:30Z"}
    results = found(tmp_path, SEEN | wrong, second, by="Bear Alarm")
    assert [results[file].row.verdict for file in ("A/1.jpg", "A/2.jpg")] == ["none", "bear"]


def test_one_event_as_long_as_the_deployment_is_no_more_work_for_each_picture(tmp_path, monkeypatch):
    looked = []
    real = camtrap_reader._Held.strength

    def strength(held):
        looked.append(held)
        return real(held)

    monkeypatch.setattr(camtrap_reader._Held, "strength", strength)
    many = [f"2026-05-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(600)]
    long = SEEN | {"eventStart": many[0], "eventEnd": many[-1]}
    short = [SEEN | {"eventStart": at, "eventEnd": at} for at in many]
    media = [(f"m{n}", "A", at, f"A/{n}.jpg") for n, at in enumerate(many)]
    assert len(list(read_package(package(tmp_path, long, *short, media=media)))) == 600
    assert len(looked) == 2 * 600


def test_of_two_programs_words_that_of_the_picture_goes_before_that_of_its_event(tmp_path):
    own = SEEN | {"mediaID": "m1", "classificationProbability": "0.6"}
    results = found(tmp_path, SEEN, own)
    assert [results[file].row.score for file in ("A/1.jpg", "A/2.jpg")] == [0.6, 0.9]


@pytest.mark.parametrize(("by", "score"), [("Bear Alarm", 0.3), ("another program", 0.9)])
def test_a_score_of_ours_is_in_a_tag_and_the_probability_is_of_the_species(tmp_path, by, score):
    bear = found(tmp_path, SEEN | {"observationTags": "label:brown_bear|score:0.3"}, by=by)["A/1.jpg"]
    assert (bear.row.score, bear.classes) == (score, {"brown_bear": 0.9})


def test_a_person_s_word_goes_before_a_program_s(tmp_path):
    person = {"classificationMethod": "human", "classifiedBy": "Anna", "classificationProbability": ""}
    no_bear = SEEN | person | {"observationType": "blank", "scientificName": ""}
    result = found(tmp_path, SEEN | {"mediaID": "m1"}, no_bear)["A/1.jpg"]
    assert (result.row.verdict, result.human, result.by, result.classes) == ("none", True, "Anna", {})


def test_a_person_s_word_on_an_event_goes_before_what_a_program_found_in_its_pictures(tmp_path):
    person = SEEN | {"classificationMethod": "human", "classifiedBy": "Anna"}
    results = found(tmp_path, SEEN | {"mediaID": "m1", "scientificName": "Vulpes vulpes"}, person)
    assert [results[file].row.verdict for file in ("A/1.jpg", "A/2.jpg")] == ["bear", "bear"]


def test_of_two_animals_in_one_event_the_bear_holds(tmp_path):
    fox = SEEN | {"scientificName": "Vulpes vulpes", "classificationProbability": "0.99"}
    assert found(tmp_path, fox, SEEN, fox)["A/1.jpg"].row.label == "brown_bear"


@pytest.mark.parametrize(
    ("given", "verdict", "label", "score"),
    [
        ({"scientificName": "Ursus thibetanus"}, "bear", "black_bear", 0.9),
        ({"scientificName": "Ursus arctos horribilis"}, "bear", "brown_bear", 0.9),
        ({"scientificName": "Ursidae"}, "bear", "bear", 0.9),
        ({"scientificName": "Ursidae", "observationTags": "night|label:polar_bear"}, "bear", "polar_bear", 0.9),
        ({"classificationProbability": ""}, "bear", "brown_bear", None),
        ({"observationType": "unknown", "scientificName": ""}, "maybe", "animal", 0.9),
        ({"observationType": "unknown", "observationTags": "label:brown_bear"}, "maybe", "brown_bear", 0.9),
        ({"observationType": "unknown", "observationTags": "verdict:none", "scientificName": ""}, "none", "", None),
        (
            {"observationType": "unknown", "observationTags": "verdict:maybe", "classificationMethod": "human"},
            "maybe",
            "animal",
            0.9,
        ),
        ({"scientificName": "", "observationTags": "label:fox", "classificationMethod": "human"}, "none", "fox", None),
        ({"scientificName": ""}, "maybe", "animal", 0.9),
        ({"observationType": "human", "scientificName": "Homo sapiens"}, "none", "person", None),
        ({"observationType": "vehicle"}, "none", "vehicle", None),
        ({"observationType": "unclassified"}, "none", "", None),
        ({"observationType": "unclassified", "classificationMethod": ""}, None, "", 0.9),
        ({"scientificName": "Ailuropoda melanoleuca"}, "none", "ailuropoda_melanoleuca", None),
    ],
)
def test_each_kind_of_observation_has_a_verdict(tmp_path, given, verdict, label, score):
    row = found(tmp_path, SEEN | given)["A/1.jpg"].row
    assert (row.verdict, row.label, row.score) == (verdict, label, score)


def timelapse(path):
    """Write results as another program does: bears by its own names, and what is none."""

    def image(name, time, conf, category="1", *classes):
        found = {"category": category, "conf": conf, "bbox": [0.1, 0.2, 0.3, 0.4]}
        kinds = {"classifications": [list(each) for each in classes]} if classes else {}
        return {"file": f"A\\{name}.JPG", "datetime": f"2026:05:01 {time}", "detections": [found | kinds]}

    path.write_text(
        json.dumps(
            {
                "images": [
                    image("1", "03:00:00", 0.95, "1", ("0", 0.8), ("1", 0.1)),
                    image("2", "03:00:30", 0.9, "1", ("1", 0.9)),
                    image("3", "04:00:00", 0.9),
                    image("4", "05:00:00", 0.99, "2"),
                    {"file": "A\\5.JPG", "datetime": "2026:05:01 06:00:00", "detections": []},
                    {"file": "A\\6.JPG", "datetime": "2026:05:01 06:00:30", "detections": None, "failure": "cut"},
                ],
                "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
                "classification_categories": {"0": "ursus arctos", "1": "red fox"},
                "info": {"format_version": "1.5", "detector": "v5a"},
            }
        )
    )
    return path


def test_results_of_timelapse_become_a_package_and_results_and_the_same_package_again(tmp_path):
    about = About([{"title": "Anna", "role": "contact"}], country="SI")
    place = Deployment("A", 46.0, 14.0, zone="Europe/Ljubljana", shift=timedelta(hours=-1))
    first, second = tmp_path / "first", tmp_path / "second"
    write_package(first, [place], ResultFiles([timelapse(tmp_path / "timelapse.json")])(), about)
    back = ResultFiles([first / "datapackage.json"])
    write_megadetector(tmp_path / "results.json", back(), back.info, back.labels)
    write_package(second, [place], ResultFiles([tmp_path / "results.json"])(), about)
    for name in ("deployments.csv", "media.csv", "observations.csv"):
        assert (second / name).read_text("utf-8") == (first / name).read_text("utf-8")
    made = [json.loads((each / "datapackage.json").read_bytes()) for each in (first, second)]
    assert made[0] == made[1] | {"created": made[0]["created"]}
    verdicts = {each.row.file: (each.row.verdict, each.row.label) for each in back()}
    assert verdicts == {
        "A/1.JPG": ("bear", "brown_bear"),
        "A/2.JPG": ("none", "red fox"),
        "A/3.JPG": ("maybe", "animal"),
        "A/4.JPG": ("none", "person"),
        "A/5.JPG": ("none", ""),
        "A/6.JPG": (None, ""),
    }


def test_a_table_with_other_signs_between_its_cells_is_read_as_the_package_says(tmp_path):
    path = package(tmp_path, SEEN)
    words = json.loads(path.read_text())
    words["resources"][0]["dialect"] = {"delimiter": ";"}
    path.write_text(json.dumps(words))
    media = tmp_path / "media.csv"
    media.write_text("\ufeff" + media.read_text().replace(",", ";"), encoding="utf-8")
    assert next(read_package(path)).row.verdict == "bear"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("datapackage.json", "{", "datapackage.json: is no Camtrap DP package with the tables media and observations;"),
        ("datapackage.json", '{"resources": []}', "is no Camtrap DP package"),
        (
            "datapackage.json",
            '{"resources": [{"name": "media", "path": "https://x/m.csv"}, {"name": "observations", "path": "o.csv"}]}',
            "its table https://x/m.csv is on the web; download it",
        ),
        ("media.csv", None, "media.csv: there is no such table; correct the path"),
        ("media.csv", "mediaID,deploymentID\n", "media.csv: has no column timestamp; give a package of Camtrap DP 1.0"),
        (
            "media.csv",
            "mediaID,deploymentID,timestamp,filePath\nm,A,2026-05-01 03:00,A/1.jpg\n",
            "media.csv:2: timestamp '2026-05-01 03:00' is no time with a zone; write it as 2026-05-01T03:00:00+02:00",
        ),
        (
            "observations.csv",
            ",".join(COLUMNS) + "\nA,2026-05-01T01:00:00Z,2026-05-01T01:00:00Z,animal,,,,,0.9x\n",
            "observations.csv:2: classificationProbability '0.9x' is no number; correct it",
        ),
    ],
)
def test_what_is_wrong_with_a_package_is_one_sentence(tmp_path, name, text, words):
    path = package(tmp_path, SEEN)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OptionError) as refused:
        list(read_package(path))
    assert words in str(refused.value)


def test_a_full_disk_for_temporary_files_is_one_sentence(tmp_path, monkeypatch):
    import sqlite3

    real = sqlite3.connect

    def small(_):
        made = real(tmp_path / "temporary.db")
        made.execute("PRAGMA max_page_count = 4")
        return made

    path = package(tmp_path, *([SEEN] * 2000))
    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(OptionError, match=r"disk is full\); free some room"):
        list(read_package(path))
