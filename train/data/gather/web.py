"""A web image search, through ddgs (DuckDuckGo and others). Nothing is known of the licences of what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edge.errors import SourceError
from train.data.gather.found import Found, host_in, name_in, need, understood
from train.data.licences import NOT_STATED

MAX_PAGES = 20  # of about a hundred pictures each

Search = Callable[[str, int], list[dict[str, Any]]]


def from_web(query: str, label: str, *, limit: int, search: Search | None = None) -> Iterator[Found]:
    """At most ``limit`` pictures for some words; pictures of one site are a group.

    ``search`` answers words and a page's number with dicts that have ``image`` and ``url``, as ddgs does; left out,
    it is ddgs. Raises SourceError where no search engine answers at all.
    """
    search = search or ddgs_images
    given, seen = 0, set[str]()
    for page in range(1, MAX_PAGES + 1):
        try:
            results = search(query, page)
        except SourceError:
            if page > 1:  # the end of what it finds looks like a failure
                return
            raise
        before = len(seen)
        for found in understood(results, lambda each: _result(each, label, seen), "web search"):
            yield found
            given += found.failed is None
            if given >= limit:
                return
        if len(seen) == before:
            return


def _result(result: dict[str, Any], label: str, seen: set[str]) -> Iterator[Found]:
    url, at = str(result.get("image") or ""), str(result.get("url") or "")
    if not url or url in seen:
        return
    seen.add(url)
    yield Found(
        label=label,
        source="web search",
        group=host_in(at) or host_in(url),
        name=f"{host_in(url)}-{name_in(url)}",
        url=url,
        page=at,
        licence=NOT_STATED,
    )


def ddgs_images(query: str, page: int) -> list[dict[str, Any]]:
    """Return one page of ddgs' answers. Raises SourceError where none comes."""
    ddgs = need("ddgs")
    try:
        return list(ddgs.DDGS().images(query, page=page, max_results=None, safesearch="moderate"))
    except need("ddgs.exceptions").DDGSException as error:
        first = (str(error).splitlines() or [""])[0][:120]
        raise SourceError(
            f"the web image search found nothing for {query!r} ({first}); check the network, or try again later: "
            "search engines turn away who asks often"
        ) from None
