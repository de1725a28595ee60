"""``classify --country``: the species in rows, tables and lines of JSON, and never in the results that are kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.helpers.card import card, classified, results_of
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, tiny_card, write_tiny_model

UNUSUAL = "bear (brown bears are unusual in US-GA; American black bears live there)"


def species(table: Path) -> dict[str, str]:
    with table.open(newline="") as opened:
        return {row["file"]: row["species"] for row in csv.DictReader(opened)}


def test_each_run_names_the_species_of_its_own_country(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "b.jpg": NO_BEAR_COLOUR})
    out, table = tmp_path / "results.json", tmp_path / "bears.csv"
    words = (folder, "--model", model, "--out", out, "--csv", table, "--force")
    code, printed, err = classified(*words, "--country", "us-ga")
    assert code == 0, err
    assert [line.endswith(UNUSUAL) for line in printed.splitlines()] == [False, True, False]
    assert species(table) == {"a.jpg": UNUSUAL, "b.jpg": ""}
    held = results_of(out)
    code, _, err = classified(*words, "--country", "SI")  # nothing is looked at again
    assert code == 0, err
    assert species(table) == {"a.jpg": "brown bear", "b.jpg": ""}
    classified(*words)
    assert species(table) == {"a.jpg": "", "b.jpg": ""}
    assert results_of(out) == held
    converted = tmp_path / "converted.csv"
    code, _, err = classified(out, "--csv", converted, "--country", "SL")
    assert code == 0, err
    assert species(converted) == {"a.jpg": "bear (brown bears are unusual in SL)", "b.jpg": ""}
    assert "--country: the table knows no bears in SL; if the code is right, nothing needs to be done" in err


def test_lines_of_json_have_the_species_where_there_is_a_bear(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "b.jpg": NO_BEAR_COLOUR})
    _, printed, _ = classified(folder, "--model", model, "--jsonl", "--country", "SI")
    assert [json.loads(line).get("species") for line in printed.splitlines()] == ["brown bear", None]


def test_what_is_no_country_is_refused_before_a_picture_is_read(tmp_path: Path) -> None:
    code, printed, err = classified(tmp_path, "--country", "Slovenia")
    assert (code, printed) == (2, "")
    assert "'Slovenia' is no country's code; write two letters such as SI, or US-MT" in err
