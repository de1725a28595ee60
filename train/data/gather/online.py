"""Photographs of public collections, by their APIs, and of a web image search.

iNaturalist: https://api.inaturalist.org/v1/docs/#!/Observations/get_observations, through pyinaturalist
GBIF: https://techdocs.gbif.org/en/openapi/v1/occurrence (occurrence/search), through pygbif
Wikimedia Commons: https://commons.wikimedia.org/w/api.php?action=help&modules=query%2Bimageinfo (generator search, prop
imageinfo); it asks for a name and a contact in the User-Agent, and for one request at a time
Web: ddgs (DuckDuckGo and others); the licences of its results are not known
"""

from __future__ import annotations

import html
import importlib
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from edge.errors import SourceError
from train import first_line
from train.data.gather.download import BUSY, TRIES, retry_after
from train.data.gather.offers import Offer, host_in, name_in, need, parsed
from train.data.licences import ALL_RIGHTS, NOT_STATED, Licences, find_licence

if TYPE_CHECKING:
    import httpx


def _first(limit: int, offers: Iterable[Offer]) -> Iterator[Offer]:
    """Yield offers until ``limit`` of them are pictures; later answers of the service are not asked for."""
    given = 0
    for offer in offers:
        yield offer
        given += offer.failed is None
        if given >= limit:
            return


INATURALIST_PAGE = 200  # observations in an answer at most
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
    api: str = "https://api.inaturalist.org/v1",
) -> Iterator[Offer]:
    """Yield at most ``limit`` photographs of research-grade observations of wild animals, the newest first.

    ``since`` and ``until`` are dates of observation (2024-05-01). Observations of tracks, scat, bones, hair or a
    dead animal are skipped. Raises SourceError if the service does not answer.
    """

    def offers() -> Iterator[Offer]:
        before = None
        with _inaturalist_session(contact) as session:
            while True:
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
                    "per_page": min(INATURALIST_PAGE, max(30, limit)),
                    "id_below": before,
                }
                results = _ask_inaturalist(
                    session, api, {name: value for name, value in asked.items() if value is not None}
                )
                if not results:
                    return
                yield from parsed(results, lambda each: _of_observation(each, label, species, licences), "iNaturalist")
                before = min(int(each["id"]) for each in results)

    return _first(limit, offers())


def _of_observation(observation: dict[str, Any], label: str, species: str, licences: Licences) -> Iterator[Offer]:
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
            page=str(observation.get("uri") or f"https://www.inaturalist.org/observations/{number}"),
            author=str(user.get("name") or login),
            licence=licence.name,
            licence_url=licence.url,
            taken_at=taken_at,
            place=_observed_at(observation.get("location")) if open_place else "",
            note=str((observation.get("taxon") or {}).get("name") or species),
        )


def _observed_at(location: Any) -> str:
    if isinstance(location, str):
        return location.replace(",", ", ")
    if isinstance(location, list | tuple) and len(location) == 2:
        return f"{location[0]}, {location[1]}"
    return ""


def _inaturalist_session(contact: str) -> Any:
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


def _ask_inaturalist(session: Any, api: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
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


GBIF_PAGE = 300  # occurrences in an answer at most
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
    api: str = "https://api.gbif.org/v1/",
) -> Iterator[Offer]:
    """Yield at most ``limit`` photographs of a species by its scientific name.

    ``country`` is a code of two letters (ISO 3166), ``since`` and ``until`` are dates. A photograph of iNaturalist has
    the same identity as from iNaturalist itself. Raises SourceError if GBIF does not answer.
    """

    def offers() -> Iterator[Offer]:
        offset = 0
        while True:
            asked = {
                "scientificName": species,
                "basisOfRecord": SEEN,
                "country": country.upper() or None,
                "eventDate": f"{since or '*'},{until or '*'}" if since or until else None,
                "limit": GBIF_PAGE,
                "offset": offset,
            }
            answer = _ask_gbif(api, {name: value for name, value in asked.items() if value is not None})
            results = list(answer.get("results") or ())
            yield from parsed(results, lambda each: _of_occurrence(each, label, species, licences), "GBIF")
            offset += len(results)
            if not results or answer.get("endOfRecords", True):
                return

    return _first(limit, offers())


def _of_occurrence(occurrence: dict[str, Any], label: str, species: str, licences: Licences) -> Iterator[Offer]:
    by = str(occurrence.get("recordedBy") or "")
    taken_at = str(occurrence.get("eventDate") or "")
    machine = occurrence.get("basisOfRecord") == "MACHINE_OBSERVATION"
    latitude, longitude = occurrence.get("decimalLatitude"), occurrence.get("decimalLongitude")
    place = f"{latitude}, {longitude}" if latitude is not None and longitude is not None else ""
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
            page=str(
                media.get("references")
                or occurrence.get("references")
                or f"https://www.gbif.org/occurrence/{occurrence.get('key')}"
            ),
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


def _ask_gbif(api: str, asked: dict[str, Any]) -> dict[str, Any]:
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


COMMONS_PAGE = 50  # files in an answer at most
WIDTH_PX = 1280  # one of the widths that Commons has ready
TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff")  # no GIF, SVG, PDF
MAX_WAIT_S = 60.0


def from_commons(
    query: str,
    label: str,
    client: httpx.Client,
    *,
    limit: int,
    licences: Licences = Licences.shippable,
    api: str = "https://commons.wikimedia.org/w/api.php",
) -> Iterator[Offer]:
    """Yield at most ``limit`` photographs of Commons' own search, the best first.

    Raises SourceError if Commons does not answer.
    """
    asked: dict[str, str | int] = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "generator": "search",
        "gsrsearch": f"filetype:bitmap {query}",
        "gsrnamespace": 6,
        "gsrlimit": COMMONS_PAGE,
        "prop": "imageinfo",
        "iiprop": "url|size|mime|user|extmetadata",
        "iiextmetadatafilter": "LicenseShortName|License|LicenseUrl|Artist|DateTimeOriginal|GPSLatitude|GPSLongitude",
        "iiurlwidth": WIDTH_PX,
        "maxlag": 5,
    }

    def offers() -> Iterator[Offer]:
        more = dict[str, str | int]()
        while True:
            answer = _ask_commons(client, api, asked | more)
            pages = answer.get("query", {}).get("pages") or []
            yield from parsed(sorted(pages, key=_rank), lambda page: _of_file(page, label, licences), "Commons")
            more = answer.get("continue") or {}
            if not more:
                return

    return _first(limit, offers())


def _rank(page: Any) -> int:
    rank = page.get("index") if isinstance(page, dict) else None
    return rank if isinstance(rank, int) else 0


def _of_file(page: dict[str, Any], label: str, licences: Licences) -> Iterator[Offer]:
    info: dict[str, Any] = next(iter(page.get("imageinfo") or ()), {})
    facts = {name: str(each.get("value") or "") for name, each in (info.get("extmetadata") or {}).items()}
    licence = find_licence(facts.get("LicenseShortName") or facts.get("License"), facts.get("LicenseUrl"))
    if info.get("mime") not in TYPES or not info.get("url") or not licences.takes(licence):
        return
    wide = int(info.get("width") or 0) > WIDTH_PX or info["mime"] == "image/tiff"
    author = plain(facts.get("Artist", "")) or str(info.get("user") or "")
    place = ", ".join(facts.get(name, "") for name in ("GPSLatitude", "GPSLongitude"))
    yield Offer(
        label=label,
        source="Wikimedia Commons",
        group=author or str(page.get("pageid")),  # one photographer's series often shows one animal
        name=f"{page.get('pageid')}-{str(page.get('title') or '').removeprefix('File:')}"[:60],
        url=str(info.get("thumburl") if wide and info.get("thumburl") else info["url"]),
        page=str(info.get("descriptionurl") or ""),
        author=author,
        licence=licence.name,
        licence_url=facts.get("LicenseUrl") or licence.url,
        taken_at=_taken(facts.get("DateTimeOriginal", "")),
        place=place if place != ", " else "",
    )


def plain(markup: str) -> str:
    """Return words without their HTML: names are in links and boxes."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())[:120]


def _taken(words: str) -> str:
    found = re.search(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?", plain(words))
    return found[0].replace(" ", "T") if found else ""


def _ask_commons(client: httpx.Client, api: str, asked: dict[str, str | int]) -> dict[str, Any]:
    httpx = need("httpx")
    why = "no answer"
    for attempt in range(TRIES):
        try:
            answer = client.get(api, params=asked)
            if answer.status_code == 200:
                found = answer.json()
                if isinstance(found, dict) and "error" not in found:
                    return found
                why = str(found.get("error", {}).get("info", "not understood"))[:120] if found else "empty"
                if found and found.get("error", {}).get("code") != "maxlag":
                    break
            else:
                why = f"answered {answer.status_code}"
                if answer.status_code not in BUSY:
                    break
            wait_s = retry_after(answer.headers.get("Retry-After"))
        except (httpx.HTTPError, ValueError) as error:
            why, wait_s = str(error)[:120] or type(error).__name__, None
        wait_s = 2.0**attempt if wait_s is None else wait_s
        if wait_s > MAX_WAIT_S or attempt == TRIES - 1:
            break
        time.sleep(wait_s)
    raise SourceError(f"{api}: {why}; check the network and run it again")


MAX_PAGES = 20  # of about a hundred pictures each


def from_web(query: str, label: str, *, limit: int) -> Iterator[Offer]:
    """Yield at most ``limit`` pictures for a search; pictures of one site are a group.

    Raises SourceError if no search engine answers.
    """

    def offers() -> Iterator[Offer]:
        seen = set[str]()
        for page in range(1, MAX_PAGES + 1):
            try:
                results = ddgs_images(query, page)
            except SourceError:
                if page > 1:  # the end of the results looks like a failure
                    return
                raise
            before = len(seen)
            yield from parsed(results, lambda each: _of_result(each, label, seen), "web search")
            if len(seen) == before:
                return

    return _first(limit, offers())


def _of_result(result: dict[str, Any], label: str, seen: set[str]) -> Iterator[Offer]:
    url, at = str(result.get("image") or ""), str(result.get("url") or "")
    if not url or url in seen:
        return
    seen.add(url)
    yield Offer(
        label=label,
        source="web search",
        group=host_in(at) or host_in(url),
        name=f"{host_in(url)}-{name_in(url)}",
        url=url,
        page=at,
        licence=NOT_STATED,
    )


def ddgs_images(query: str, page: int) -> list[dict[str, Any]]:
    """Return one page of ddgs' results. Raises SourceError if there are none."""
    ddgs = need("ddgs")
    try:
        return list(ddgs.DDGS().images(query, page=page, max_results=None, safesearch="moderate"))
    except need("ddgs.exceptions").DDGSException as error:
        raise SourceError(
            f"the web image search found nothing for {query!r} ({first_line(error)}); check the network, or try again "
            "later: search engines refuse frequent requests"
        ) from None
