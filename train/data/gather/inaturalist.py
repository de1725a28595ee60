"""Observations of iNaturalist, through pyinaturalist: research grade, by licence of the photograph, place and time.

API: https://api.inaturalist.org/v1/docs/#!/Observations/get_observations
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from edge.errors import SourceError
from train.data.gather.offers import Offer, need, parsed
from train.data.licences import ALL_RIGHTS, Licences, find_licence
from train.errors import first_line

API = "https://api.inaturalist.org/v1"
SITE = "https://www.inaturalist.org/observations"
PAGE = 200  # observations in an answer at most
SIZE = "large"  # the longer side has 1,024 pixels
CODES = {
    Licences.shippable: ["CC0", "CC-BY", "CC-BY-SA"],
    Licences.stated: ["CC0", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-ND", "CC-BY-NC-SA", "CC-BY-NC-ND"],
    Licences.any: None,
}
# Annotations (https://api.inaturalist.org/v1/controlled_terms): 22 "evidence of presence", of which 24 "organism";
# 17 "alive or dead", of which 19 "dead".
EVIDENCE, ORGANISM = 22, 24
NO_ANIMAL = (19, 25, 26, 27, 31)  # dead, scat, track, bone, hair


def from_inaturalist(
    species: str,
    label: str,
    *,
    limit: int,
    licences: Licences = Licences.shippable,
    place_id: int | None = None,
    since: str = "",
    until: str = "",
    contact: str = "",
    api: str = API,
) -> Iterator[Offer]:
    """Yield at most ``limit`` photographs of research-grade observations of wild animals, the newest first.

    ``since`` and ``until`` are dates of observation (2024-05-01). Observations of tracks, scat, bones, hair or a
    dead animal are skipped. Raises SourceError if the service does not answer.
    """
    given, before = 0, None
    with _session(contact) as session:
        while given < limit:
            asked: dict[str, Any] = {
                "taxon_name": species,
                "quality_grade": "research",
                "captive": False,
                "photos": True,
                "photo_license": CODES[licences],
                "place_id": place_id,
                "d1": since or None,
                "d2": until or None,
                "without_term_value_id": list(NO_ANIMAL),
                "order_by": "id",
                "order": "desc",
                "per_page": min(PAGE, max(30, limit - given)),
                "id_below": before,
            }
            results = _ask(session, api, {name: value for name, value in asked.items() if value is not None})
            for found in parsed(results, lambda each: _photos(each, label, species, licences), "iNaturalist"):
                yield found
                given += found.failed is None
                if given >= limit:
                    return
            if not results:
                return
            before = min(int(each["id"]) for each in results)


def _photos(observation: dict[str, Any], label: str, species: str, licences: Licences) -> Iterator[Offer]:
    annotated = {
        (int(each.get("controlled_attribute_id") or 0), int(each.get("controlled_value_id") or 0))
        for each in observation.get("annotations") or ()
    }
    evidence = {value for attribute, value in annotated if attribute == EVIDENCE}
    if (evidence and ORGANISM not in evidence) or any(value in NO_ANIMAL for _, value in annotated):
        return
    user = observation.get("user") or {}
    taken: Any = observation.get("observed_on")
    taken_at = taken.isoformat() if hasattr(taken, "isoformat") else str(taken or "")
    number, login = observation["id"], str(user.get("login") or "")
    open_place = not observation.get("obscured") and not observation.get("geoprivacy")
    for photo in observation.get("photos") or ():
        licence = find_licence(photo.get("license_code") or ALL_RIGHTS)
        if not photo.get("url") or not licences.takes(licence):
            continue
        yield Offer(
            label=label,
            source="iNaturalist",
            group=f"{login or number}/{taken_at[:10] or number}",  # one observer's day
            name=str(photo["id"]),
            url=re.sub(r"/square\.(\w+)", rf"/{SIZE}.\1", str(photo["url"])),
            page=str(observation.get("uri") or f"{SITE}/{number}"),
            author=str(user.get("name") or login),
            licence=licence.name,
            licence_url=licence.url,
            taken_at=taken_at,
            place=_place(observation.get("location")) if open_place else "",
            note=str((observation.get("taxon") or {}).get("name") or species),
        )


def _place(location: Any) -> str:
    if isinstance(location, str):
        return location.replace(",", ", ")
    if isinstance(location, list | tuple) and len(location) == 2:
        return f"{location[0]}, {location[1]}"
    return ""


def _session(contact: str) -> Any:
    """Return a session with at most one request a second, as iNaturalist asks, and without a cache on the disk."""
    limiter, session = need("requests_ratelimiter"), need("pyinaturalist.session")
    return session.ClientSession(
        cache_file=":memory:",
        use_memory=True,
        expire_after=0,
        bucket_class=limiter.MemoryQueueBucket,
        ratelimit_path=None,
        user_agent=f"bear-alarm {contact}".strip(),
    )


def _ask(session: Any, api: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    get_observations = need("pyinaturalist").get_observations
    # The module's constant names the service.
    sys.modules[get_observations.__module__].API_V1 = api  # type: ignore[attr-defined]
    try:
        answer = get_observations(session=session, **asked)
        return list(answer["results"])
    except need("requests").RequestException as error:
        raise SourceError(f"{api}: no answer ({first_line(error)}); check the network and run it again") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{api}: an answer that cannot be read ({first_line(error)}); try again later") from None
