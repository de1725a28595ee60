"""The species of bear that live in a country or a state of the USA, and what the label of an alarm means there.

It only chooses words: no alarm is ever muted by it, and no score is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge.errors import OptionError

TABLE = Path(__file__).with_name("bears_by_country.json")  # tests/helpers/make_bears_by_country.py makes it
NAMES = {
    "Ursus arctos": "brown bear",
    "Ursus americanus": "American black bear",
    "Ursus thibetanus": "Asiatic black bear",
    "Melursus ursinus": "sloth bear",
    "Helarctos malayanus": "sun bear",
    "Tremarctos ornatus": "Andean bear",
    "Ursus maritimus": "polar bear",
}
LABELS = {  # of alarms, and the species they stand for; a giant panda is no alarm
    "brown_bear": ("Ursus arctos",),
    "black_bear": tuple(name for name, words in NAMES.items() if words not in {"brown bear", "polar bear"}),
    "polar_bear": ("Ursus maritimus",),
}
SURE = 0.65  # part of the probability of all bears that a label needs to be named


@dataclass(frozen=True, slots=True)
class Species:
    """The likeliest species of a bear; "bear" where several may be."""

    name: str  # for people: "brown bear", "Asiatic black bear"; "bear" where it is not sure
    scientific: str  # "Ursus arctos"; "Ursidae" where it is not sure
    rank: str  # of ``scientific``: "species" or "family"
    note: str = ""  # for people: "brown bears are unusual in US-GA"; "" for nothing unusual

    @property
    def words(self) -> str:
        """Return the name with the note: "bear (brown bears are unusual in SL)"."""
        return f"{self.name} ({self.note})" if self.note else self.name


def likely(label: str, country: str = "", *, share: float = 1.0) -> Species:
    """Return what a bear with this alarm label most likely is in a country ("SI", "US-MT"; "": not known).

    ``share``: the label's part of the probability of all bears; below ``SURE`` it is a "bear", as is any label but
    those of ``LABELS``. Of a label that stands for several species it is the one that lives there, where only one does.
    Raises OptionError for what is no code of a country.
    """
    meant = LABELS.get(label, ())
    live = live_in(country) if country else meant
    if not meant or share < SURE:
        return Species("bear", "Ursidae", "family")
    words = label.replace("_", " ")
    if not (here := [name for name in meant if name in live]):
        note = f"{words}s are unusual in {parse_country(country)}"
        return Species("bear", "Ursidae", "family", f"{note}; {_many(live, 'and')} live there" if live else note)
    if len(here) == 1:
        return Species(NAMES[here[0]], here[0], "species")
    if not country:
        return Species(words, "Ursidae", "family")
    return Species("bear", "Ursidae", "family", f"{_many(here, 'or')} live there")


def species_of(label: str, classes: Mapping[str, float], country: str = "") -> Species:
    """Return ``likely`` for a label among the probabilities by label. Raises OptionError for no country's code."""
    return likely(label, country, share=share_of(label, classes))


def share_of(label: str, classes: Mapping[str, float]) -> float:
    """Return a label's part of the probability of all bears, 0 to 1; 1.0 where ``classes`` has none of a bear."""
    bears = sum(classes.get(each, 0.0) for each in LABELS)
    return classes.get(label, 0.0) / bears if bears else 1.0


def live_in(country: str) -> tuple[str, ...]:
    """Return the scientific names of the alarms' species that live in a country. Raises OptionError for no code."""
    code = parse_country(country)
    return tuple(name for name in NAMES if code in _table()[name])


def no_bears(country: str) -> str:
    """Return words for a country in which the table knows no bears, else nothing. Raises OptionError for no code."""
    if live_in(country):
        return ""
    return f"the table knows no bears in {parse_country(country)}; if the code is right, nothing needs to be done"


def parse_country(country: str) -> str:
    """Return the code of a country or a state of the USA in capitals. Raises OptionError for what is none."""
    code = country.strip().upper()
    if not re.fullmatch("(US-)?[A-Z]{2}", code):
        raise OptionError(
            f"{country!r} is no country's code; write two letters such as SI, or US-MT for a state of the USA"
        )
    return code


@cache
def _table() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(TABLE.read_bytes())["species"]
    return found


def _many(species: list[str] | tuple[str, ...], word: str) -> str:
    """Return names as "sloth bears, sun bears or polar bears"."""
    *names, last = (f"{NAMES[each]}s" for each in species)
    return f"{', '.join(names)} {word} {last}" if names else last
