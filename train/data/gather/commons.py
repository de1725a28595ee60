"""Files of Wikimedia Commons by a search, with the author and licence of each file's page.

API: https://commons.wikimedia.org/w/api.php?action=help&modules=query%2Bimageinfo (generator search, prop imageinfo).
Commons asks for a name and a contact in the User-Agent, and for one request at a time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge.errors import SourceError
from train.data.gather.download import BUSY, TRIES, retry_after
from train.data.gather.offers import Offer, need, parsed
from train.data.licences import Licences, find_licence

if TYPE_CHECKING:
    import threading

    import httpx


API = "https://commons.wikimedia.org/w/api.php"
PAGE = 50  # files in an answer at most
WIDTH_PX = 1280  # one of the widths that Commons has ready
TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff")  # no GIF, SVG, PDF
MAX_WAIT_S = 60.0


def from_commons(
    query: str,
    label: str,
    client: httpx.Client,
    stop: threading.Event,
    *,
    limit: int,
    licences: Licences = Licences.shippable,
    api: str = API,
) -> Iterator[Offer]:
    """Yield at most ``limit`` photographs of Commons' own search, the best first.

    ``stop`` ends a wait that the service asked for. Raises SourceError if Commons does not answer.
    """
    asked: dict[str, str | int] = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "generator": "search",
        "gsrsearch": f"filetype:bitmap {query}",
        "gsrnamespace": 6,
        "gsrlimit": PAGE,
        "prop": "imageinfo",
        "iiprop": "url|size|mime|user|extmetadata",
        "iiextmetadatafilter": "LicenseShortName|License|LicenseUrl|Artist|DateTimeOriginal|GPSLatitude|GPSLongitude",
        "iiurlwidth": WIDTH_PX,
        "maxlag": 5,
    }
    given, more = 0, dict[str, str | int]()
    while given < limit:
        answer = _ask(client, api, asked | more, stop)
        pages = answer.get("query", {}).get("pages") or []
        for found in parsed(sorted(pages, key=_rank), lambda page: _file(page, label, licences), "Commons"):
            yield found
            given += found.failed is None
            if given >= limit:
                return
        more = answer.get("continue") or {}
        if not more:
            return


def _rank(page: Any) -> int:
    rank = page.get("index") if isinstance(page, dict) else None
    return rank if isinstance(rank, int) else 0


def _file(page: dict[str, Any], label: str, licences: Licences) -> Iterator[Offer]:
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


def _ask(client: httpx.Client, api: str, asked: dict[str, str | int], stop: threading.Event) -> dict[str, Any]:
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
        if wait_s > MAX_WAIT_S or attempt == TRIES - 1 or stop.wait(wait_s):
            break
    raise SourceError(f"{api}: {why}; check the network and run it again")
