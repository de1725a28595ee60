"""A web image search, through ddgs (DuckDuckGo and others). The licences of its results are not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edge.errors import SourceError
from train.data.gather.offers import Offer, host_in, name_in, need, parsed
from train.data.licences import NOT_STATED
from train.errors import first_line

MAX_PAGES = 20  # of about a hundred pictures each

Search = Callable[[str, int], list[dict[str, Any]]]


def from_web(query: str, label: str, *, limit: int, search: Search | None = None) -> Iterator[Offer]:
    """Yield at most ``limit`` pictures for a search; pictures of one site are a group.

    ``search`` returns dicts with ``image`` and ``url`` for words and a page's number, as ddgs (the default) does.
    Raises SourceError if no search engine answers.
    """
    search = search or ddgs_images
    given, seen = 0, set[str]()
    for page in range(1, MAX_PAGES + 1):
        try:
            results = search(query, page)
        except SourceError:
            if page > 1:  # the end of the results looks like a failure
                return
            raise
        before = len(seen)
        for found in parsed(results, lambda each: _result(each, label, seen), "web search"):
            yield found
            given += found.failed is None
            if given >= limit:
                return
        if len(seen) == before:
            return


def _result(result: dict[str, Any], label: str, seen: set[str]) -> Iterator[Offer]:
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
