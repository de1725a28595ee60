"""HTML by small functions: words are escaped where they enter, tables scroll on a narrow screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from train.metrics import Auc, Rate

STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:0 1rem 4rem}
h1{font-size:1.5rem;margin:1.2rem 0 .3rem}
h2{font-size:1.2rem;margin:2.2rem 0 .4rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}p,li{max-width:46rem}.quiet{opacity:.75;font-size:.9rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem .7rem .2rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
td.words{white-space:normal;min-width:12rem}svg{height:auto;background:#fff;border-radius:4px}
.met{color:#17823b}.not{color:#c0392b}
.thumbs{display:grid;
  grid-template-columns:repeat(auto-fill,minmax(7rem,1fr));gap:.7rem}
figure{margin:0;font-size:.75rem;line-height:1.25;overflow-wrap:anywhere}
figure img{width:100%;border-radius:3px;display:block}
.verdict{font-weight:600}nav a{margin-right:.8rem;white-space:nowrap}
@media(prefers-color-scheme:dark){.met{color:#57c17b}.not{color:#ef7b6c}}
"""
# No script, and nothing from anywhere else: the page says so to the browser too.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A whole page from (anchor, heading, inner HTML)."""
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a> ' for anchor, heading, _ in sections[1:])
    body = "\n".join(
        f'<section id="{anchor}"><h{1 + bool(number)}>{escape(heading)}</h{1 + bool(number)}>\n{inner}'
        f"{'<nav>' + links + '</nav>' if not number else ''}\n</section>"
        for number, (anchor, heading, inner) in enumerate(sections)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def paragraph(words: str, quiet: bool = False) -> str:
    """One paragraph of plain words."""
    return f'<p class="quiet">{escape(words)}</p>\n' if quiet else f"<p>{escape(words)}</p>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]]) -> str:
    """A table; a cell is its words, or (words, CSS class)."""
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (cell, "") for cell in row]
        lines.append(
            "<tr>"
            + "".join(
                f'<td class="{name}">{escape(words)}</td>' if name else f"<td>{escape(words)}</td>"
                for words, name in cells
            )
            + "</tr>"
        )
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>\n"


def thumbs(pictures: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Thumbnails: (data URI, lines below it)."""
    return (
        '<div class="thumbs">'
        + "\n".join(
            f'<figure><img src="{uri}" alt="{escape(lines[0])}">{"<br>".join(escape(line) for line in lines)}</figure>'
            for uri, lines in pictures
        )
        + "</div>\n"
    )


def share(found: Rate | None, counts: bool = True) -> str:
    """``95.1 % (244 of 257) [92.0-97.3]``."""
    if found is None:
        return "–"
    of = f" ({found.k} of {found.n})" if counts else ""
    return f"{100 * found.value:.1f} %{of} [{100 * found.low:.1f}–{100 * found.high:.1f}]"


def area(found: Auc | None) -> str:
    """``0.991 [0.984-0.995]``."""
    return "–" if found is None else f"{found.value:.3f} [{found.low:.3f}–{found.high:.3f}]"
