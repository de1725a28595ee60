"""A comparison as a table for a terminal, and as a page."""

from __future__ import annotations

import html
from collections.abc import Iterator

from train.ood.compare import Comparison, Judged

TITLE = "Out-of-domain scores compared"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;
text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}tr.best{background:#eef6ea}
small{color:#666}"""


def text(comparison: Comparison) -> str:
    """The table and what it means, in plain lines."""
    return "\n".join([*_table(comparison), "", *sentences(comparison)])


def _table(comparison: Comparison) -> Iterator[str]:
    kinds = [told.kind for told in comparison.methods[0].kinds]
    width = max(24, *(len(kind) + 2 for kind in kinds))
    names = [judged.method for judged in comparison.methods]
    yield "AUROC against the test part [95 %]".ljust(width + 12) + "".join(name.rjust(22) for name in names)
    for row, kind in enumerate(kinds):
        count = comparison.methods[0].kinds[row].pictures
        cells = [judged.kinds[row] for judged in comparison.methods]
        yield f"{kind} ({count})".ljust(width + 12) + "".join(
            f"{cell.auroc:.3f} [{cell.low:.2f}-{cell.high:.2f}]".rjust(22) for cell in cells
        )
    for words, value in (("mean over kinds", "mean"), ("against the tuning part", "tuning")):
        cells_of = [f"{getattr(judged, value):.3f}" for judged in comparison.methods]
        yield words.ljust(width + 12) + "".join(cell.rjust(22) for cell in cells_of)


def sentences(comparison: Comparison) -> list[str]:
    """What a reader needs to know beside the table."""
    best = comparison.methods[0]
    words = [
        f"Best against the tuning part: {best.method}. `bear-alarm export` puts it into the graph.",
        f"Its threshold is {best.threshold:.4g}: 95 % of the clean and of the degraded tuning crops pass.",
        f"Of the test part's crops pass: {passes(best)}.",
        (
            f"Outsiders that pass all the same: {', '.join(f'{t.kind} {100 * t.passes:.0f} %' for t in best.kinds)}; "
            f"where 95 % of the test part's crops pass: {', '.join(f'{100 * t.fpr95:.0f} %' for t in best.kinds)}."
        ),
    ]
    trained = [f"{told.kind} {told.seen} of {told.pictures}" for told in best.kinds if told.seen]
    if trained:
        words.append(f"The network was trained on some of these outsiders, as no_bear: {', '.join(trained)}.")
    if comparison.left_out:
        few = ", ".join(f"{kind} ({count})" for kind, count in comparison.left_out.items())
        words.append(f"Left out, too few pictures: {few}.")
    return words


def passes(judged: Judged) -> str:
    """The shares of the test part that pass, in words."""
    return ", ".join(f"{group} {100 * share:.1f} %" for group, share in judged.passes.items())


def page(comparison: Comparison) -> str:
    """One self-contained HTML page."""
    kinds = [told.kind for told in comparison.methods[0].kinds]
    head = "".join(f"<th>{html.escape(kind)}</th>" for kind in kinds)
    body = "".join(_row(judged, best=n == 0) for n, judged in enumerate(comparison.methods))
    said = "".join(f"<p>{html.escape(line)}</p>" for line in sentences(comparison))
    crops = ", ".join(
        f"{name}: {count} crops of {comparison.pictures[name]} pictures" for name, count in comparison.crops.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{TITLE}</title><style>{STYLE}</style><h1>{TITLE}</h1>{said}"
        "<table><thead><tr><th>method</th><th>mean AUROC</th><th>against tuning</th>"
        f"{head}<th>of the test part, passes</th></tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{html.escape(crops)}. Intervals 95 %, by picture (Obuchowski 1997). "
        f"Seed {comparison.seed}.</small></p>"
        "</html>\n"
    )


def _row(judged: Judged, *, best: bool) -> str:
    cells = "".join(
        f"<td>{told.auroc:.3f}<br><small>{told.low:.2f}–{told.high:.2f}, FPR95 {told.fpr95:.2f}</small></td>"
        for told in judged.kinds
    )
    shares = html.escape(passes(judged)).replace(", bears", "<br>bears")
    return (
        f"<tr{' class=best' if best else ''}><td>{html.escape(judged.method)}</td><td>{judged.mean:.3f}</td>"
        f"<td>{judged.tuning:.3f}</td>{cells}<td><small>{shares}</small></td></tr>"
    )
