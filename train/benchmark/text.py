"""The benchmark's tables for a terminal."""

from __future__ import annotations

from train.benchmark.figures import RATE, TARGETS, Figures
from train.metrics import AtRate, Auc, Rate

KINDS_SHOWN = 16


def benchmark_text(found: Figures) -> str:
    """Benchmark A by size bin, its false positives by animal, and benchmark B as x of n."""
    lines = [
        f"Benchmark A: held-out animals, made far (recall at {RATE:.0%} false positives)",
        f"  {'':<10}{'crops (pictures)':<28}{'of this size':<25}{'of all sizes together':<25}{'AUC':<22}aim",
        f"  {'':<10}{'bears / others':<28}",
    ]
    for one in found.bins:
        crops = f"{one.bears} ({one.bear_pictures}) / {one.others} ({one.other_pictures})"
        aim = f"{100 * TARGETS[one.bin]:.0f} %" if one.bin in TARGETS else ""
        lines.append(
            f"  {one.bin:<10}{crops:<28}{at(one.own):<25}{at(one.together):<25}{area(one.auc):<22}{aim}".rstrip()
        )
    lines += [f"  Note: {words}." for words in found.doubts]
    lines += ["", f"  False positives at the thresholds for {RATE:.0%}, of this size's others"]
    lines.append(f"  {'':<10}{'of this size':<25}of all sizes together")
    lines += [f"  {one.bin:<10}{let_through(one.own):<25}{let_through(one.together)}".rstrip() for one in found.bins]
    lines += ["", f"  At the card's crop threshold ({found.card_threshold:.3f})"]
    lines.append(f"  {'':<10}{'recall':<25}false positives")
    lines += [
        f"  {one.bin:<10}{share(one.alarm_recall):<25}{share(one.alarm_false_positives)}".rstrip() for one in found.bins
    ]
    lines += ["", f"  Taken for a bear at the threshold of all sizes together ({found.threshold:.3f}), % of each kind"]
    names = [one.bin for one in found.bins]
    lines.append(f"  {'':<36}" + "".join(f"{name:>10}" for name in names) + f"{'pictures':>10}")
    worst = sorted(found.kinds.items(), key=lambda kind: -max(rate.value for rate in kind[1].values()))
    for kind, rates in worst[:KINDS_SHOWN]:
        cells = "".join(f"{100 * rates[name].value:>10.1f}" if name in rates else f"{'-':>10}" for name in names)
        lines.append(f"  {kind[:34]:<36}{cells}{found.kind_pictures[kind]:>10}")
    lines += ["", "Benchmark B: real trail-camera bears, at their true boxes (x of n)"]
    lines.append(f"  {'':<10}{'card':<12}{'1 % of this size':<20}1 % of all sizes")
    for box in found.real:
        if box.boxes:
            card, own, together = (counted(rate) for rate in (box.at_card, box.at_own, box.at_together))
            lines.append(f"  {box.bin:<10}{card:<12}{own:<20}{together}")
    if not any(box.boxes for box in found.real):
        lines.append("  none among these pictures")
    lines += ["", "In brackets: 95 % intervals over original pictures (bootstrap of pictures; Obuchowski for AUC)."]
    return "\n".join(lines)


def at(found: AtRate | None) -> str:
    """``95.1 % [92.0-97.3]``."""
    return "-" if found is None else share(found.recall)


def let_through(found: AtRate | None) -> str:
    """``0.9 % [0.5-1.8]``: what the threshold passes of the others, and the interval of what it passes elsewhere."""
    return "-" if found is None else share(found.false_positives)


def share(found: Rate | None) -> str:
    """``95.1 % [92.0-97.3]``."""
    return "-" if found is None else f"{100 * found.value:.1f} % [{100 * found.low:.1f}-{100 * found.high:.1f}]"


def area(found: Auc | None) -> str:
    """``0.991 [0.984-0.995]``."""
    return "-" if found is None else f"{found.value:.3f} [{found.low:.3f}-{found.high:.3f}]"


def counted(found: Rate | None) -> str:
    """``4 of 6``."""
    return "-" if found is None else f"{found.k} of {found.n}"
