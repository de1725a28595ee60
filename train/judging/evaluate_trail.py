"""The trail-camera benchmark of one model or of the folds of a recipe: frames, figures, clips, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from edge.cli.progress import track
from edge.errors import CatalogError
from train.benchmark.held_out import Judge
from train.benchmark.trail_cameras import see_all
from train.benchmark.trail_figures import trail_figures
from train.judging.evaluate_clips import Clip, evaluate_clips
from train.judging.trail_text import clips_line, trail_text


def evaluate_trail(judges: Sequence[Judge], clips: Sequence[Clip], *, as_json: bool) -> str:
    """Make all of it, as text, or as JSON with every frame's scores, from which the figures can be made again.

    Each model watches all clips. Raises CatalogError where there is no frame of a trail camera among the pictures.
    """
    frames = see_all(judges, track)
    if not any(one.part == "trail camera" and one.bear for one in frames):
        raise CatalogError(
            "no bear on a frame of a trail camera is among these pictures; the table's column condition says which "
            "pictures are such frames"
        )
    figures = trail_figures(frames)
    seen = {
        one.classifier.name: evaluate_clips(one.classifier, track(clips, f"{one.classifier.name}: watching clips"))
        for one in (judges if clips else ())
    }
    if as_json:
        found = {
            "figures": asdict(figures),
            "clips": {name: asdict(one) for name, one in seen.items()},
            "frames": [asdict(one) for one in frames],
        }
        return json.dumps(found, indent=1, ensure_ascii=False)
    return "\n".join([trail_text(figures), *(f"\n{clips_line(name, clips, one)}" for name, one in seen.items())])
