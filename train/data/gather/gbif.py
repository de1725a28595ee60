"""Occurrences of GBIF with photographs, through pygbif: observations by people and by camera traps.

API: https://techdocs.gbif.org/en/openapi/v1/occurrence (occurrence/search)
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from edge.errors import SourceError
from train.data.gather.found import Found, name_in, need, understood
from train.data.licences import Licences, find_licence

API = "https://api.gbif.org/v1/"
SITE = "https://www.gbif.org/occurrence"
PAGE = 300  # occurrences an answer holds at most
SEEN = ["HUMAN_OBSERVATION", "MACHINE_OBSERVATION"]  # no skins and skulls in museums
TIMEOUT_S = 30


def from_gbif(
    species: str,
    label: str,
    *,
    limit: int,
    licences: Licences = Licences.shippable,
    country: str = "",
    since: str = "",
    until: str = "",
    api: str = API,
) -> Iterator[Found]:
    """At most ``limit`` photographs of a species by its scientific name.

    ``country`` is a code of two letters (ISO 3166), ``since`` and ``until`` are dates. Photographs at iNaturalist are
    known by the same number as when asked of iNaturalist itself. Raises SourceError where GBIF does not answer.
    """
    given, offset = 0, 0
    while given < limit:
        asked = {
            "scientificName": species,
            "basisOfRecord": SEEN,
            "country": country.upper() or None,
            "eventDate": f"{since or '*'},{until or '*'}" if since or until else None,
            "limit": PAGE,
            "offset": offset,
        }
        answer = _ask(api, {name: value for name, value in asked.items() if value is not None})
        results = list(answer.get("results") or ())
        for found in understood(results, lambda each: _photos(each, label, species, licences), "GBIF"):
            yield found
            given += found.failed is None
            if given >= limit:
                return
        offset += len(results)
        if not results or answer.get("endOfRecords", True):
            return


def _photos(occurrence: dict[str, Any], label: str, species: str, licences: Licences) -> Iterator[Found]:
    by = str(occurrence.get("recordedBy") or "")
    taken_at = str(occurrence.get("eventDate") or "")
    machine = occurrence.get("basisOfRecord") == "MACHINE_OBSERVATION"
    place = _place(occurrence)
    where = str(occurrence.get("locationID") or occurrence.get("locality") or place)
    # A camera trap stands for weeks; a person's photographs of one day belong together.
    group = where if machine and where else f"{by or occurrence.get('key')}/{taken_at[:10]}"
    for number, media in enumerate(occurrence.get("media") or ()):
        licence = find_licence(media.get("license") or occurrence.get("license"))
        url = str(media.get("identifier") or "")
        if media.get("type") not in (None, "StillImage") or not url or not licences.takes(licence):
            continue
        yield Found(
            label=label,
            source=f"GBIF {occurrence.get('datasetName') or occurrence.get('datasetKey') or ''}".strip(),
            group=group,
            name=f"{occurrence.get('key')}-{number}-{name_in(url)}"[:60],
            url=_fetched(url),
            page=str(media.get("references") or occurrence.get("references") or f"{SITE}/{occurrence.get('key')}"),
            author=str(media.get("creator") or media.get("rightsHolder") or occurrence.get("rightsHolder") or by),
            licence=licence.name,
            licence_url=licence.url,
            taken_at=taken_at,
            place=place,
            note=str(occurrence.get("species") or species),
            fixed_camera=machine,
        )


def _fetched(url: str) -> str:
    """iNaturalist's photographs in the size that is asked of iNaturalist itself."""
    head, _, tail = url.rpartition("/")
    return f"{head}/{tail.replace('original.', 'large.', 1)}" if "inaturalist" in head else url


def _place(occurrence: dict[str, Any]) -> str:
    latitude, longitude = occurrence.get("decimalLatitude"), occurrence.get("decimalLongitude")
    return f"{latitude}, {longitude}" if latitude is not None and longitude is not None else ""


def _ask(api: str, asked: dict[str, Any]) -> dict[str, Any]:
    os.environ.setdefault("MPLBACKEND", "Agg")  # pygbif brings its maps along
    need("pygbif")
    search = importlib.import_module("pygbif.occurrences.search")
    search.gbif_baseurl = api  # type: ignore[attr-defined]  # the library names its service in a constant of the module
    try:
        answer = search.search(mediaType="StillImage", timeout=TIMEOUT_S, **asked)
    except need("requests").RequestException as error:
        raise SourceError(f"{api}: no answer ({_first(error)}); check the network and run it again") from None
    except Exception as error:  # pygbif raises its own for an answer that is no JSON
        raise SourceError(f"{api}: an answer that is not understood ({_first(error)}); try again later") from None
    if not isinstance(answer, dict):
        raise SourceError(f"{api}: an answer that is not understood; try again later")
    return answer


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
