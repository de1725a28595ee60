"""Occurrences of GBIF with photographs, through pygbif: observations by people and by camera traps.

API: https://techdocs.gbif.org/en/openapi/v1/occurrence (occurrence/search)
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from edge.errors import SourceError
from train.data.gather.offers import Offer, name_in, need, parsed
from train.data.licences import Licences, find_licence
from train.errors import first_line

API = "https://api.gbif.org/v1/"
SITE = "https://www.gbif.org/occurrence"
PAGE = 300  # occurrences in an answer at most
SEEN = ["HUMAN_OBSERVATION", "MACHINE_OBSERVATION"]  # not a museum's skins and skulls
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
) -> Iterator[Offer]:
    """Yield at most ``limit`` photographs of a species by its scientific name.

    ``country`` is a code of two letters (ISO 3166), ``since`` and ``until`` are dates. A photograph of iNaturalist has
    the same identity as from iNaturalist itself. Raises SourceError if GBIF does not answer.
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
        for found in parsed(results, lambda each: _photos(each, label, species, licences), "GBIF"):
            yield found
            given += found.failed is None
            if given >= limit:
                return
        offset += len(results)
        if not results or answer.get("endOfRecords", True):
            return


def _photos(occurrence: dict[str, Any], label: str, species: str, licences: Licences) -> Iterator[Offer]:
    by = str(occurrence.get("recordedBy") or "")
    taken_at = str(occurrence.get("eventDate") or "")
    machine = occurrence.get("basisOfRecord") == "MACHINE_OBSERVATION"
    place = _place(occurrence)
    where = str(occurrence.get("locationID") or occurrence.get("locality") or place)
    # A camera trap stays for weeks; a person's photographs of one day belong together.
    group = where if machine and where else f"{by or occurrence.get('key')}/{taken_at[:10]}"
    for number, media in enumerate(occurrence.get("media") or ()):
        licence = find_licence(media.get("license") or occurrence.get("license"))
        url = str(media.get("identifier") or "")
        if media.get("type") not in (None, "StillImage") or not url or not licences.takes(licence):
            continue
        yield Offer(
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
    """Return the address to fetch: iNaturalist's photographs in the same size as from iNaturalist itself."""
    head, _, tail = url.rpartition("/")
    return f"{head}/{tail.replace('original.', 'large.', 1)}" if "inaturalist" in head else url


def _place(occurrence: dict[str, Any]) -> str:
    latitude, longitude = occurrence.get("decimalLatitude"), occurrence.get("decimalLongitude")
    return f"{latitude}, {longitude}" if latitude is not None and longitude is not None else ""


def _ask(api: str, asked: dict[str, Any]) -> dict[str, Any]:
    os.environ.setdefault("MPLBACKEND", "Agg")  # pygbif imports matplotlib for its maps
    need("pygbif")
    search = importlib.import_module("pygbif.occurrences.search")
    search.gbif_baseurl = api  # type: ignore[attr-defined]  # the module's constant names the service
    try:
        answer = search.search(mediaType="StillImage", timeout=TIMEOUT_S, **asked)
    except need("requests").RequestException as error:
        raise SourceError(f"{api}: no answer ({first_line(error)}); check the network and run it again") from None
    except Exception as error:  # pygbif raises its own error if an answer is no JSON
        raise SourceError(f"{api}: an answer that cannot be read ({first_line(error)}); try again later") from None
    if not isinstance(answer, dict):
        raise SourceError(f"{api}: an answer that cannot be read; try again later")
    return answer
