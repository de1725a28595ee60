"""The table of deployments: as spreadsheets save it, every cell checked, and what is wrong in one sentence."""

from __future__ import annotations

import unicodedata
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.batch.deployments import (
    Deployment,
    Folders,
    Times,
    parse_shift,
    read_deployments,
    right_shift,
    shift_words,
)
from edge.errors import OptionError

HEAD = "deploymentID,latitude,longitude"
TO_THE_START = "+8888d (brings the first picture to the start; check it)"


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a table of deployments."""
    path = folder / "deployments.csv"
    path.write_text(text, encoding)
    return path


def test_table_has_the_columns_of_camtrap_dp_and_three_more(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        f"{HEAD},locationName,deploymentStart,deploymentEnd,folder,timezone,shift,my notes\n"
        'A03,46.0569,14.5058,"Krim, hut",2024-05-01T10:00:00+02:00,2024-06-01,2024\\A03\\,+01:00,+365d 1h,old battery\n'
        "\n"
        "A04,-46,14,,,,,,,\n",
    )
    first, second = read_deployments(path, "Europe/Ljubljana")
    assert first == Deployment(
        "A03",
        46.0569,
        14.5058,
        start=datetime(2024, 5, 1, 8, tzinfo=UTC),
        end=datetime(2024, 6, 1, 22, 59, 59, tzinfo=UTC),  # a day is all of it, by the row's zone
        folder="2024/A03",
        zone="+01:00",
        shift=timedelta(days=365, hours=1),
        more={"locationName": "Krim, hut"},
    )
    assert second == Deployment("A04", -46.0, 14.0, zone="Europe/Ljubljana")


def test_spreadsheet_of_a_country_with_decimal_commas_is_read(tmp_path: Path) -> None:
    text = "deploymentID;latitude;longitude;cameraHeight\r\nČ3;46,0569;14,5;1,2\r\n"
    found = read_deployments(table(tmp_path, text, "utf-8-sig"))
    assert found == [Deployment("Č3", 46.0569, 14.5, more={"cameraHeight": "1.2"})]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("place,lat\nA03,46\n", "has no column deploymentID, latitude, longitude"),
        (f"{HEAD}\n", "has no rows"),
        (
            f"{HEAD},shift\nA03,46,14,\nA04,,14,\nA05,46,,\n",
            "2 mistakes\nline 3: has no coordinates; give latitude and longitude in degrees (WGS 84)\nline 4: has",
        ),
        (f"{HEAD}\n" + "A,96,14\n" * 7, "7 mistakes, the first 5 are\nline 2: latitude is '96'"),
        (f"{HEAD}\nA03,0,0.0\n", "line 2: latitude and longitude are 0, a place in the sea"),
        (f"{HEAD},latitude\nA03,46,14,46\n", "has the column latitude twice"),
        (f"{HEAD},cameraHeight\nA03,46,14,inf\n", "line 2: cameraHeight is 'inf'; give a number of 0 or more"),
        (
            f"{HEAD},deploymentStart,deploymentEnd\nA03,46,14,2024-05-02T10:00Z,2024-05-01T10:00Z\n",
            "line 2: deploymentEnd 2024-05-01 10:00 is before deploymentStart 2024-05-02 10:00",
        ),
        (
            f"{HEAD},deploymentStart\nA03,46,14,0001-01-01T00:00Z\n",
            "deploymentStart is '0001-01-01T00:00Z'; correct the year",
        ),
        (f'{HEAD}\nA03,46,"14\nA04,47,14\n', "longitude has a line break, after '14'; is a quotation mark not closed?"),
        (f"{HEAD},shift\nA03,46,14,1d2d\n", "shift is '1d2d'; write days"),
        (f"{HEAD}\n,46,14\n", "line 2: has no deploymentID"),
        (f"{HEAD}\nA03,96,14\n", "line 2: latitude is '96'; give a number from -90 to 90"),
        (f"{HEAD}\nA03,46° 3',14\n", 'latitude is "46° 3\'"; give a number'),
        (f"{HEAD}\nA03,nan,14\n", "latitude is 'nan'; give a number"),
        (f"{HEAD}\nA03,46,14\nA03,47,14\n", "lines 2 and 3: both have deploymentID A03"),
        (
            f"{HEAD},folder\nA03,46,14,A\nA04,47,14,A\n",
            "lines 2 and 3: both have folder A; correct it, or where the camera was moved",
        ),
        (
            f"{HEAD},folder,shift\nA03,46,14,A,+1h\nA04,47,14,A,\n",
            "lines 2 and 3: both have folder A, and shift differs (+1h, +0d); write the same shift in every row",
        ),
        (f"{HEAD},featureType\nA03,46,14,road\n", "featureType is 'road'; give one of roadPaved, "),
        (f"{HEAD},cameraTilt\nA03,46,14,1.5\n", "cameraTilt is '1.5'; give a whole number from -90 to 90"),
        (f"{HEAD},cameraHeight\nA03,46,14,-1\n", "cameraHeight is '-1'; give a number of 0 or more"),
        (f"{HEAD},baitUse\nA03,46,14,yes\n", "baitUse is 'yes'; give true or false"),
        (f"{HEAD},deploymentStart\nA03,46,14,1.5.2024\n", "deploymentStart is '1.5.2024'; write it as 2024-05-01"),
        (f"{HEAD},deploymentStart\nA03,46,14,2024-05-01\n", "'2024-05-01' without a time zone; give --timezone"),
        (f"{HEAD},timezone\nA03,46,14,Ljubljana\n", "line 2: timezone: 'Ljubljana' is no time zone"),
        (f"{HEAD},shift\nA03,46,14,1 year\n", "shift is '1 year'; write days, hours, minutes and seconds as"),
    ],
)
def test_mistake_in_the_table_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        read_deployments(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no such table"):
        read_deployments(tmp_path / "none.csv")
    with zipfile.ZipFile(tmp_path / "places.xlsx", "w") as file:
        file.writestr("xl/workbook.xml", "")
    with pytest.raises(OptionError, match='is an Excel file; save it as "CSV UTF-8"'):
        read_deployments(tmp_path / "places.xlsx")


def test_picture_is_of_the_deployment_whose_folders_its_path_holds() -> None:
    places = [("A", ""), ("B", "2024/B"), ("C", "B"), ("D", "2024/B/100")]
    find = Folders([Deployment(id_, 46, 14, folder=folder) for id_, folder in places])
    files = ["A/1.JPG", "cards/A/DCIM/1.JPG", "2024/B/1.JPG", "2023/B/1.JPG", "2024/B/100/1.JPG", "AB/1.JPG", "1.JPG"]
    assert [find(file) for file in files] == [0, 0, 1, 2, 3, None, None]
    decomposed = unicodedata.normalize("NFD", "Črni vrh")
    assert Folders([Deployment("Črni vrh", 46, 14)])(f"{decomposed}/1.JPG") == 0
    one = Folders([Deployment("site", 46, 14, folder=".")])
    assert [one(file) for file in ("1.JPG", "A/B/1.JPG")] == [0, 0]


def test_camera_that_was_moved_has_two_rows_of_one_folder(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        f"{HEAD},folder,deploymentStart,deploymentEnd\n"
        "hut,46,14,A,2024-05-10,2024-06-01\nford,46.1,14,A,2024-05-01,2024-05-10\n",
    )
    find = Folders(read_deployments(path, "+02:00"))
    times = ("2024-04-30T10:00:00", "2024-05-09T23:00:00", "2024-05-10T00:00:01", "2024-05-09T23:00:00+00:00", "")
    assert [find("A/1.JPG", time) for time in times] == [1, 1, 0, 0, 0]
    late = Folders([replace(each, shift=timedelta(hours=2)) for each in read_deployments(path, "+02:00")])
    assert [late("A/1.JPG", f"2024-05-09T{hour}:00:00") for hour in (21, 22)] == [1, 0]


def test_name_of_the_card_s_own_folder_is_that_of_a_deployment() -> None:
    find = Folders([Deployment("A03", 46, 14), Deployment("A04", 46, 14)], "A03")
    assert [find(file) for file in ("DCIM/100EK113/1.JPG", "1.JPG", "A04/1.JPG", "/B/1.JPG")] == [0, 0, 1, None]
    assert Folders([Deployment("A03", 46, 14)], "cams")("DCIM/1.JPG") is None


def test_open_end_is_none(tmp_path: Path) -> None:
    (found,) = read_deployments(table(tmp_path, f"{HEAD},deploymentEnd\nA,46,14,9999-12-31\n"))
    assert found.end is None


@pytest.mark.parametrize("words", ["+365d", "-1h", "+1d12h", "+30m5s", "+0d"])
def test_shift_is_written_as_it_is_read(words: str) -> None:
    assert shift_words(parse_shift(words)) == words


@pytest.mark.parametrize(
    ("first", "last", "end", "words"),
    [
        ("2023-05-01T10:05", "2023-05-20T00:00", "2024-06-01", "+366d"),
        ("2023-05-05T10:05", "2023-05-20T00:00", "2024-06-01", "+366d"),  # the first picture came days after the start
        ("2025-05-05T10:05", "2025-05-20T00:00", "2024-06-01", "-365d"),
        ("2023-05-05T10:05", "2023-12-20T00:00", None, None),  # the last picture would be in the future
        ("2000-01-01T00:03", "2000-01-20T00:00", "2024-06-01", TO_THE_START),  # a clock that was never set
        ("2000-01-01T00:03", "2000-01-20T00:00", None, TO_THE_START),
        ("2000-01-01T00:03", "2024-05-20T00:00", "2024-06-01", None),  # it stopped in between: no shift mends that
        ("2024-04-28T10:05", "2024-05-20T00:00", None, None),  # some fit: the start is wrong, or was it set up earlier?
    ],
)
def test_shift_is_offered_where_it_makes_all_pictures_fit(
    first: str, last: str, end: str | None, words: str | None
) -> None:
    def at(word: str) -> datetime:
        return datetime.fromisoformat(word).replace(tzinfo=UTC)

    deployment = Deployment("A03", 46, 14, start=at("2024-05-01T10:00"), end=at(end) if end else None)
    off = 3 if last.startswith("2024") else 9
    times = Times(9, at(first), at(last), off, 0, 0, 0)
    assert right_shift(deployment, times, at("2024-09-01")) == words
