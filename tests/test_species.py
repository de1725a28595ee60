"""Countries of bears, and the meaning of a label there."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import OptionError
from edge.species import LABELS, SURE, Species, likely, live_in, species_of


@pytest.mark.parametrize(
    ("label", "country", "words", "scientific"),
    [
        ("brown_bear", "SI", "brown bear", "Ursus arctos"),
        ("brown_bear", "us-mt", "brown bear", "Ursus arctos"),
        ("black_bear", "US-NJ", "American black bear", "Ursus americanus"),
        ("black_bear", "JP", "Asiatic black bear", "Ursus thibetanus"),
        ("black_bear", "PE", "Andean bear", "Tremarctos ornatus"),
        ("polar_bear", "SJ", "polar bear", "Ursus maritimus"),
        ("brown_bear", "XK", "brown bear", "Ursus arctos"),
        ("brown_bear", "NP", "brown bear", "Ursus arctos"),
        ("black_bear", "US-CT", "American black bear", "Ursus americanus"),
        ("black_bear", "US-RI", "American black bear", "Ursus americanus"),
        ("black_bear", "IN", "bear (Asiatic black bears, sloth bears or sun bears live there)", "Ursidae"),
        ("brown_bear", "US-GA", "bear (brown bears are unusual in US-GA; American black bears live there)", "Ursidae"),
        ("polar_bear", "SL", "bear (polar bears are unusual in SL)", "Ursidae"),
        ("brown_bear", "", "brown bear", "Ursus arctos"),
        ("black_bear", "", "black bear", "Ursidae"),
        ("polar_bear", "", "polar bear", "Ursus maritimus"),
        ("ghost_bear", "SI", "bear", "Ursidae"),
    ],
)
def test_a_label_is_the_species_that_lives_there(label: str, country: str, words: str, scientific: str) -> None:
    found = likely(label, country)
    assert (found.words, found.scientific) == (words, scientific)
    assert found.rank == ("family" if scientific == "Ursidae" else "species")


@pytest.mark.parametrize("country", ["", "SI", "US-GA"])
def test_a_label_that_is_not_sure_is_a_bear(country: str) -> None:
    assert likely("brown_bear", country, share=SURE - 0.01) == Species("bear", "Ursidae", "family")
    assert likely("brown_bear", country, share=SURE) == likely("brown_bear", country)


def test_a_label_s_share_is_of_all_bears_alone() -> None:
    classes = {"brown_bear": 0.3, "black_bear": 0.1, "no_bear": 0.6}
    assert species_of("brown_bear", classes, "SI").name == "brown bear"
    assert species_of("brown_bear", classes | {"black_bear": 0.2}, "SI") == Species("bear", "Ursidae", "family")
    assert species_of("brown_bear", {}, "SI").name == "brown bear"


@pytest.mark.parametrize("country", ["Slovenia", "SVN", "CA-BC", "US-", "12", "S I"])
def test_what_is_no_code_is_named_with_examples(country: str) -> None:
    with pytest.raises(OptionError, match=f"'{country}' is no country's code; .* SI, .* US-MT "):
        live_in(country)


def test_every_bear_lives_somewhere_and_none_everywhere() -> None:
    assert live_in("CA") == ("Ursus arctos", "Ursus americanus", "Ursus maritimus")
    assert live_in("CN") == ("Ursus arctos", "Ursus thibetanus", "Helarctos malayanus")
    assert not live_in("GB")
    everywhere = {*live_in("CA"), *live_in("CN"), *live_in("LK"), *live_in("PE")}
    assert everywhere == {species for meant in LABELS.values() for species in meant}


def test_the_table_is_made_of_the_species_of_bears_alone() -> None:
    pytest.importorskip("babel")
    from tests.helpers.make_bears_by_country import bears_by_country

    bear: dict[str, Any] = {
        "mammalia;carnivora;ursidae;ursus;": {"allow": {"AUS": []}},
        "mammalia;carnivora;ursidae;ursus;u. arctos": {"allow": {"AUS": []}},
        "mammalia;carnivora;ursidae;ursus;americanus": {"allow": {"CAN": [], "USA": ["GA", "MT"]}},
        "mammalia;carnivora;ursidae;tremarctos;ornatus": {"allow": {"PER": [], "RUS": []}},
        "mammalia;carnivora;viverridae;genetta;genetta": {"allow": {"ESP": []}},
    }
    assert bears_by_country(bear) == {
        "Tremarctos ornatus": ["PE"],
        "Ursus americanus": ["CA", "US", "US-CT", "US-GA", "US-MT", "US-RI"],
        "Ursus maritimus": ["CA", "GL", "NO", "RU", "SJ", "US", "US-AK"],
    }
