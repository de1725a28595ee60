"""Licences: their names, and whether a model trained on the picture may be passed on ("ships").

A text that is not recognised completely is unknown, and does not ship: "MIT; pictures from a web search" is not MIT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

NOT_STATED = "not stated"
OWN = "own"
ALL_RIGHTS = "all rights reserved"
UNKNOWN = "unknown"

# Creative Commons' licences, and whether a work made from a picture may be passed on, sold and altered.
_CC = {
    "CC BY": True,
    "CC BY-SA": True,
    "CC BY-ND": False,
    "CC BY-NC": False,
    "CC BY-NC-SA": False,
    "CC BY-NC-ND": False,
}
# Wikimedia Commons' public-domain tags; other words after "PD" may mean anything.
_PD = (
    r"old( \d{2,3})?( expired)?|us( expired| no notice| not renewed)?|self|author|user|art( \d+)?"
    r"|usgov( interior| doi| military)?( blm| doe| epa| fsa| fws| nasa| noaa| nps| usda| usfs| usgs)?"
)
# Other licences, one pattern each, which must match completely.
_OTHERS: tuple[tuple[str, str, bool], ...] = (
    (OWN, r"own( pictures| work)?|mine|my own", True),
    ("CC0", r"(cc ?0|cc zero)( 1\.0)?( \(cc ?0( 1\.0)?\))?( public domain)?", True),
    ("public domain", rf"public ?domain( mark)?( 1\.0)?|pdm?( 1\.0)?|pd ({_PD})", True),
    ("MIT", r"mit|expat", True),
    ("Apache-2.0", r"apache[ -]?2(\.0)?", True),
    ("BSD", r"bsd( [23] clause)?", True),
    ("GPL", r"(l|a)?gpl[ -]?(v)?[23](\.0)?( only| or later|\+)?", True),
    ("ODbL", r"odbl( 1\.0)?", True),
    ("CDLA-Permissive", r"cdla permissive( v)?( [12]\.0)?", True),
    (ALL_RIGHTS, r"all rights reserved|c|©|copyright(ed)?|(©|\(c\)|copyright).*all rights reserved", False),
    (NOT_STATED, r"not stated.*|none|null|no licen[sc]e|unspecified", False),
)
_WORDS = (
    (r"creative ?commons", "cc"),
    (r"attribution", "by"),
    (r"non ?commercial", "nc"),
    (r"share ?alike", "sa"),
    (r"no ?deriv(ative)?s?( works?)?", "nd"),
    (r"\b(international|unported|generic|universal|licen[sc]e|deed|legalcode|dedication|the|version)\b", " "),
    (r"\bpublic domain cc0\b|\bcc0 public domain\b|\bcc0 1\.0 public domain\b", "cc0"),
)
_CC_WHOLE = re.compile(
    r"(?:cc )?by(?P<rest>(?: (?:nc|nd|sa))*)(?: (?P<version>[1-4]\.[05])(?:,? ?[1-4]\.[05])*)?"
    r"(?: (?!nc|nd|sa)[a-z]{2})?"  # a country's own version
)
_CC_URL = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org/(?:licenses/(?P<suite>[a-z-]+)|publicdomain/(?P<public>zero|mark))"
    r"(?:/(?P<version>\d\.\d))?(?:/(?!deed|legalcode)[a-z-]{2,12})?(?:/(?:deed|legalcode)(?:\.[a-z_-]+)?)?/?"
    r"(?:[?#].*)?"
)
_LICENCE_SITES = re.compile(r"(?:https?:)?(?://)?(?:www\.)?(?:creativecommons|rightsstatements)\.org(?:[/?#].*)?")


@dataclass(frozen=True)
class Licence:
    """One licence."""

    kind: str  # "CC BY-SA"; without version
    version: str = ""
    ships: bool = False  # whether a model trained on such pictures may be passed on
    stated: str = ""  # the words that named it

    @property
    def name(self) -> str:
        """Return its name, ``CC BY-SA 4.0``; of an unknown one the words."""
        return self.stated if self.kind == UNKNOWN else f"{self.kind} {self.version}".strip()

    @property
    def url(self) -> str:
        """Return the address of a Creative Commons licence; "" for others, or without a version."""
        if self.kind == "CC0":
            return "https://creativecommons.org/publicdomain/zero/1.0/"
        if not self.kind.startswith("CC ") or not self.version:
            return ""
        return f"https://creativecommons.org/licenses/{self.kind[3:].lower()}/{self.version}/"


def find_licence(words: str | None, url: str | None = "") -> Licence:
    """Return the licence that words or an address name; else ``unknown`` or ``not stated``, which do not ship.

    If words and address differ, the one that does not ship counts. An unknown address of a licence site (Creative
    Commons, rightsstatements.org) makes the whole unknown.
    """
    words, url = (words or "").strip(), (url or "").strip()
    named = _by_url(words) or _by_words(words) if words else None
    linked = _by_url(url) if url else None
    if url and linked is None and _LICENCE_SITES.fullmatch(url.lower()):
        linked = Licence(UNKNOWN, stated=url)
    if named is None or linked is None:
        return named or linked or Licence(NOT_STATED)
    if named.ships and linked.ships:
        return named if named.version or named.kind != linked.kind else linked
    return named if not named.ships else linked


def _by_words(words: str) -> Licence:
    text = _plain(words)
    if (match := _CC_WHOLE.fullmatch(text)) and ("cc" in text.split() or match["rest"] or match["version"]):
        return _suite(match["rest"].split(), match["version"] or "", words)
    for kind, pattern, ships in _OTHERS:
        if re.fullmatch(pattern, text):
            return Licence(kind, "1.0" if kind == "CC0" else "", ships, words)
    return Licence(UNKNOWN, stated=words)


def may_ship(words: str) -> bool:
    """Return True if a model trained on a picture of this licence may be passed on.

    For "" (no table) the owner decides.
    """
    return not words or find_licence(words).ships


def stated(words: str, url: str) -> str:
    """Return the licence of a table's two columns: the words, unless the address names one that does not ship."""
    found = find_licence(words, url)
    return found.name if may_ship(words) and not found.ships and (words or url) else words


def counted(licences: Iterable[str]) -> str:
    """Count licences in words, the most first: ``12 CC BY-NC 4.0, 3 not stated``."""
    counts = Counter(each or "of a folder without a table" for each in licences)
    return ", ".join(f"{count} {licence}" for licence, count in counts.most_common())


def _plain(words: str) -> str:
    text = re.sub(r"\(repo\)\s*$", "", words.lower()).strip().rstrip(".")
    text = re.sub(r"_(\d)_(\d)$", r" \1.\2", text)  # GBIF writes CC_BY_4_0
    text = re.sub(r"[_/-]+", " ", text)
    for pattern, word in _WORDS:
        text = re.sub(pattern, word, text)
    text = re.sub(r"\bcc(?=(by|nc|sa|nd)\b)", "cc ", text)
    return " ".join(text.split())


class Licences(StrEnum):
    """The licences that a download may have."""

    shippable = "shippable"  # a model trained on them may be passed on
    stated = "stated"  # also for non-commercial use, or without derivatives
    any = "any"  # and unknown ones

    @property
    def words(self) -> str:
        """Return the licences in words."""
        return {
            "shippable": "CC0, CC BY, CC BY-SA or public domain",
            "stated": "any Creative Commons licence, also those that do not let a model be passed on",
            "any": "any licence or none; a model trained on them may not be passed on",
        }[self.value]

    def takes(self, licence: Licence) -> bool:
        """Return True if a picture of this licence is wanted."""
        stated = licence.kind.startswith("CC ")
        return licence.ships or (stated and self is not Licences.shippable) or self is Licences.any


def _by_url(text: str) -> Licence | None:
    match = _CC_URL.fullmatch(text.lower())
    if match is None:
        return None
    if match["public"]:
        zero = match["public"] == "zero"
        return Licence("CC0", "1.0", True, text) if zero else Licence("public domain", "", True, text)
    first, *rest = match["suite"].strip("-").split("-")
    return _suite(rest, match["version"] or "", text) if first == "by" else None


def _suite(rest: list[str], version: str, stated: str) -> Licence:
    wanted = [part.upper() for part in ("nc", "nd", "sa") if part in rest]
    kind = "-".join(["CC BY", *wanted])
    if kind not in _CC or len(wanted) != len(rest):
        return Licence(UNKNOWN, stated=stated)
    return Licence(kind, version, _CC[kind], stated)
