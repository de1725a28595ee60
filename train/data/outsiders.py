"""Outsiders: pictures outside the camera's domain, known by the note in the table.

They are excluded from the out-of-domain score, its threshold, and the drift reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from train.data.pictures import Picture as Row

# Whole words in the table's notes, with "_" and "-" as spaces. Livestock, pets, birds, boar, deer, foxes, wolves,
# cougars, cars, streets and landscapes are in-domain: a camera in the field sees them.
NOTES = {
    kind: re.compile(rf"\b(?:{words})\b")
    for kind, words in {
        "thermal": r"thermal(?! (?:spring|pool|bath)s?\b)",
        "other continents' animals": (
            r"african|madagascar cat|(?<!mountain )(?<!sea )lions?|water buffalo(?:e?s)?|ostrich(?:es)?|"
            r"tigers?(?! (?:cat|shark|beetle|moth|salamander|snake|swallowtail|trout)s?\b)|"
            r"leopards?(?! (?:frog|lizard|moth|seal|shark|slug)s?\b)|zebras?(?! (?:finch|mussel|swallowtail|tailed))|"
            r"elephants?(?! (?:seal|hawk|hawkmoth)s?\b)|camels?(?! (?:cricket|spider)s?\b)|sloths?(?! bears?\b)|"
            r"(?<!nine banded )armadillos?|"
            r"(?:kangaroo|wallaby|koala|wombat|echidna|cheetah|hyena|meerkat|mongoose|giraffe|warthog|impala|gazelle|"
            r"llama|jaguar|ape|gorilla|chimpanzee|orangutan|gibbon|siamang|guenon|baboon|macaque|langur|monkey|marmoset|"
            r"capuchin|titi|indri)s?|wallabies|patas|colobus|platypus(?:es)?|hippopotamus(?:es)?"
        ),
        "under water": (
            r"(?m:^rays?$)|(?:bat|cownose|devil|eagle|electric|manta|spotted|sting) rays?|stingrays?|hammerheads?|"
            r"tench|goldfish|corals?(?! (?:bean|honeysuckle|root|snake)s?\b)|sea anemones?|anemone ?fish|jellyfish|"
            r"starfish|lionfish|sea (?:urchin|cucumber|slug)s?|puffer ?fish|puffers?(?! (?:coat|jacket)s?\b)|"
            r"rock beauty|coho|barracouta|nautilus|crayfish|\w+ crabs?(?! (?:apple|spider|eating)s?\b)|conch(?:es)?|"
            r"(?:shark|sturgeon|gar|eel|lobster|chiton|whale|dugong)s?"
        ),
        "indoor": r"indoors?|rooms?|kitchens?(?! gardens?\b)|offices?",
        "drawings": r"drawings?|cartoons?|comics?|sketch(?:es)?|clip ?arts?",
    }.items()
}


def kind_of(row: Row) -> str | None:
    """Return the kind of outsider; None for a picture of the domain, as every bear is."""
    if row.label != "no_bear":
        return None
    called = re.sub(r"[_-]", " ", f"{words_of(row.note)}\n{row.named}".lower())
    return next((kind for kind, words in NOTES.items() if words.search(called)), None)


def words_of(note: str) -> str:
    """Return the words of a note before its first ``;``: they name the thing on the picture."""
    return note.partition(";")[0].strip()


def in_domain(rows: Iterable[Row]) -> list[Row]:
    """Return the pictures of the domain."""
    return [row for row in rows if kind_of(row) is None]
