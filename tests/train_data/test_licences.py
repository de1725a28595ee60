"""Licences: their usual spellings, and that nothing unknown ships."""

from __future__ import annotations

import pytest

from train.data.licences import UNKNOWN, counted, find_licence, may_ship, stated

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("words", "name", "ships"),
    [
        ("cc0", "CC0 1.0", True),
        ("CC0_1_0", "CC0 1.0", True),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0", True),
        ("cc-by", "CC BY", True),
        ("CC BY 4.0", "CC BY 4.0", True),
        ("CC-BY-4.0", "CC BY 4.0", True),
        ("CC_BY_4_0", "CC BY 4.0", True),
        ("CC BY-SA 3.0 de", "CC BY-SA 3.0", True),
        ("http://creativecommons.org/licenses/by/4.0/legalcode", "CC BY 4.0", True),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC BY-SA 4.0", True),
        ("Public domain", "public domain", True),
        ("own", "own", True),
        ("CDLA-Permissive-1.0", "CDLA-Permissive", True),
        ("MIT", "MIT", True),
        ("cc-by-nc", "CC BY-NC", False),
        ("CC_BY_NC_4_0", "CC BY-NC 4.0", False),
        ("CC BY-NC-SA 4.0", "CC BY-NC-SA 4.0", False),
        ("CC BY-ND 2.0", "CC BY-ND 2.0", False),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International", "CC BY-NC-ND 4.0", False),
        ("https://creativecommons.org/licenses/by-nc/4.0", "CC BY-NC 4.0", False),
        ("All rights reserved", "all rights reserved", False),
        ("(c) A. Author, all rights reserved", "all rights reserved", False),
        ("not stated", "not stated", False),
    ],
)
def test_usual_spellings(words: str, name: str, ships: bool):
    found = find_licence(words)
    assert (found.name, found.ships) == (name, ships)
    assert may_ship(words) == ships


@pytest.mark.parametrize(
    "words",
    [
        "MIT (repo; images from a web search, own rights not stated)",
        "GPL-3.0 (repo code; images not stated)",
        "CC BY 4.0 with restrictions",
        "CC BY-NC-SA 4.0 or CC0",
        "https://creativecommons.org/licenses/by/4.0/ but not for sale",
        "public domain, I think",
        "by",
        "S-Lab License 1.0 (non-commercial)",
        "PD non-commercial use only",
        "PD-USGov non commercial",
        "PD but all rights reserved",
        "PD not stated",
        "pd images from a web search",
    ],
)
def test_what_is_not_understood_whole_does_not_ship(words: str):
    assert find_licence(words).kind == UNKNOWN
    assert find_licence(words).name == words
    assert not may_ship(words)


def test_words_and_address_that_differ_count_as_the_one_that_does_not_ship():
    assert find_licence("CC BY 4.0", "https://creativecommons.org/licenses/by-nc/4.0/").name == "CC BY-NC 4.0"
    assert find_licence("CC BY-NC 4.0", "https://creativecommons.org/licenses/by/4.0/").name == "CC BY-NC 4.0"
    assert find_licence("cc-by", "https://creativecommons.org/licenses/by/2.0/").name == "CC BY 2.0"
    assert find_licence("", "https://creativecommons.org/licenses/by/2.0/").ships
    assert not find_licence("see the page", "https://creativecommons.org/licenses/by/2.0/").ships


@pytest.mark.parametrize(
    "url",
    [
        "https://creativecommons.org/licenses/by-nc/4.0/?ref=openverse",
        "https://creativecommons.org/licenses/by-nc-nd/3.0/igo/",
        "https://creativecommons.org/licenses/by-nc/2.5/scotland/#deed",
        "https://creativecommons.org/licenses/sampling+/1.0/",
        "http://rightsstatements.org/vocab/InC/1.0/",
    ],
)
def test_an_address_that_does_not_ship_or_is_not_understood_counts_against_the_words(url: str):
    assert not find_licence("CC BY 4.0", url).ships
    assert not may_ship(stated("CC BY 4.0", url))


def test_a_tables_two_columns_are_its_words_unless_the_address_forbids():
    assert stated("MIT (repo)", "") == "MIT (repo)"
    assert stated("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/?ref=x") == "CC BY 4.0"
    assert stated("CC BY", "https://creativecommons.org/licenses/by-nc/4.0/") == "CC BY-NC 4.0"
    assert stated("not stated", "https://creativecommons.org/licenses/by/4.0/") == "not stated"


def test_a_name_and_an_address_lead_back_to_the_same_licence():
    for words in ("cc0", "CC BY 4.0", "CC BY-NC-ND 2.5", "CC BY-SA 3.0"):
        found = find_licence(words)
        assert find_licence(found.url).name == find_licence(found.name).name == found.name


def test_without_a_table_it_is_the_owners_affair():
    assert may_ship("")
    assert find_licence("").kind == "not stated"
    assert counted(["MIT", "", "MIT"]) == "2 MIT, 1 of a folder without a table"


@given(
    st.sampled_from(["CC BY 4.0", "cc0", "MIT", "own", "public domain", "PD", "PD-old", "CC BY-SA 4.0"]),
    st.text("abcdefgh", min_size=3),
)
def test_more_words_than_a_licence_has_never_ship(licence: str, more: str):
    assert not may_ship(f"{licence}; {more}")
    assert not may_ship(f"{more} {licence}")


@given(st.text())
def test_any_words_are_taken(words: str):
    found = find_licence(words)
    assert found.ships == find_licence(found.name).ships or not found.ships
