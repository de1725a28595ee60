"""What became of the pictures that were offered, by kind, and the lines that say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

NEW, THERE, BETTER, LABELLED = "new", "already there", "better copies", "labelled"
DUPLICATE, OTHER_LABEL = "duplicates", "duplicates of pictures with another label"
IN_THE_TABLE = (NEW, THERE, BETTER, LABELLED)  # every other kind is left out
LEFT_OUT_FOLDER = "left-out"  # pictures that a better copy replaced


@dataclass
class Tally:
    """What became of the pictures that were offered, by kind, and a few words on some."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def count(self, kind: str, words: str = "") -> None:
        """One more of a kind."""
        self.counts[kind] += 1
        if words:
            self.examples.setdefault(kind, words)

    @property
    def kept(self) -> int:
        """How many came in, better copies of what was there included."""
        return self.counts[NEW] + self.counts[BETTER]

    def lines(self, out: Path, total: int) -> list[str]:
        """What to say at the end."""
        there = f", {self.counts[THERE]} were there already" if self.counts[THERE] else ""
        new = f"{self.counts[NEW]} new picture{'' if self.counts[NEW] == 1 else 's'}"
        lines = [f"{new} in {out}, which now has {total}{there}."]
        if self.counts[BETTER]:
            lines.append(
                f"{self.counts[BETTER]} are better copies of pictures that were there (by licence or size); "
                f"files that gave way lie in {out / LEFT_OUT_FOLDER}."
            )
        if self.counts[LABELLED]:
            lines.append(f"{self.counts[LABELLED]} that were there unsorted have a label now.")
        out_of = {kind: n for kind, n in self.counts.most_common() if kind not in IN_THE_TABLE}
        if out_of:
            lines.append("Left out: " + ", ".join(f"{n} {kind}" for kind, n in out_of.items()) + ".")
            lines += [f"  {kind}: {self.examples[kind]}" for kind in out_of if kind in self.examples]
        return lines
