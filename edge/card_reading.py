"""A card out of a model file: of which version it is, whether it can be used, and what contradicts itself."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge.card import CARD_VERSION, CELL_PX, READABLE, Card, CropRule, DriftReference, FrameRule, Spread, golden_digest
from edge.errors import ModelError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_TOLERANCE = 0.5  # a golden tolerance above it would let any network pass
CONTEXTS = 1.0, 3.0
INTERPOLATIONS = "INTER_AREA", "INTER_LINEAR"  # to shrink and to enlarge: what ``edge.crops.fit`` does


def card_type() -> TypeAdapter[Card]:
    """pydantic's view of the card: validation and JSON Schema. Imported here, for it takes 50 ms."""
    from pydantic import TypeAdapter

    return TypeAdapter(Card)


def read_card(text: str | None, path: object) -> Card:
    """Return the card in a model file's metadata. ``path`` only names the file in the message.

    Raises ModelError when there is none, it is of a newer version, or it contradicts itself.
    """
    from pydantic import ValidationError

    if not text:
        raise ModelError(
            f"{path}: this ONNX file carries no bear-alarm card; "
            "make one that does with `bear-alarm export RUN --out bear.onnx`"
        )
    try:
        held: dict[str, Any] = json.loads(text)
        version = held["card_version"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: the card inside is damaged (no card_version); export the model again") from None
    if version not in READABLE:
        raise ModelError(
            f"{path}: its card is version {version!r} and this bear-alarm reads version {CARD_VERSION}; "
            "update bear-alarm or export the model again"
        )
    limits = held.get("thresholds")
    if version == 1 and isinstance(limits, dict) and "still" in limits:
        limits["frame"] = limits.pop("still")
    try:
        card = card_type().validate_json(json.dumps(held))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "card"
        raise ModelError(
            f"{path}: the card inside is not usable ({where}: {first['msg']}); export the model again"
        ) from None
    problem = contradiction(card)
    if problem:
        raise ModelError(f"{path}: the card inside contradicts itself ({problem}); export the model again")
    return card


def contradiction(card: Card) -> str | None:
    """Return the contradiction in a card, in words; None when it holds together."""
    unknown = [label for label in card.alarm_labels if label not in card.labels]
    if unknown:
        return f"alarm label {unknown[0]!r} is not among its labels"
    if not card.alarm_labels:
        return "no label raises an alarm"
    if len(set(card.labels)) != len(card.labels):
        return "a label stands twice"
    if set(card.alarm_labels) == set(card.labels):
        return "every label raises an alarm"
    if not card.input_sizes or any(size <= 0 or size % CELL_PX for size in card.input_sizes):
        return f"input sizes {card.input_sizes} are not multiples of {CELL_PX}"
    missing = [mode for mode in ("crop", "frame") if mode not in card.thresholds]
    if missing:
        return f"no threshold for mode {missing[0]!r}"
    for mode, threshold in card.thresholds.items():
        if not 0.0 < threshold.value < 1.0:
            return f"threshold {threshold.value} of mode {mode!r} is not between 0 and 1"
    if not 0.0 < card.prior < 1.0:
        return f"prior {card.prior} is not between 0 and 1"
    if not card.golden:
        return "no golden vectors"
    if any(len(vector.probabilities) != len(card.labels) for vector in card.golden):
        return "a golden vector has another number of probabilities than there are labels"
    if card.golden_sha256 not in (None, golden_digest(card.labels, card.alarm_labels, card.golden)):
        return "its labels, alarm labels or golden vectors are not those it was exported with"
    if not 0.0 < card.golden_tolerance <= MOST_TOLERANCE:  # NaN is neither
        return f"golden tolerance {card.golden_tolerance} is not above 0 and at most {MOST_TOLERANCE}"
    if (card.frame is None) != (card.card_version == 1):
        return f"version {card.card_version} {'with a' if card.frame else 'without a'} rule for whole frames"
    if card.frame and not card.golden_frames:
        return "no golden frame"
    return _crop_problem(card.crop) or _frame_problem(card.frame) or _drift_problem(card.drift)


def _frame_problem(frame: FrameRule | None) -> str | None:
    """Return why the frame scan cannot follow a rule; None where it can."""
    if frame is None:
        return None
    if not frame.sides or any(side <= 0 or side % CELL_PX for side in frame.sides):
        return f"longer sides {frame.sides} of frames are not multiples of {CELL_PX}"
    if not frame.windows or any(window < 2 or window * CELL_PX > min(frame.sides) for window in frame.windows):
        return f"windows of {frame.windows} cells do not fit into frames of {frame.sides} pixels"
    return None


def _drift_problem(drift: DriftReference | None) -> str | None:
    """Return the contradiction in a drift reference; None where there is none."""
    for name in ("ood", "bear", "brightness") if drift else ():
        spread: Spread = getattr(drift, name)
        ascending = all(one < other for one, other in pairwise(spread.edges))
        whole = abs(sum(spread.shares) - 1) < 1e-3 and min(spread.shares, default=-1.0) >= 0
        if not ascending or not whole or len(spread.shares) != len(spread.edges) + 1:
            return f"the drift reference of {name!r} is no spread over bins"
    return None


def _crop_problem(crop: CropRule) -> str | None:
    """Return why ``edge.crops.cut`` cannot follow a crop rule; None where it can."""
    least, most = CONTEXTS
    if not least <= crop.context <= most:
        return f"crop context {crop.context} is not between {least:g} and {most:g}"
    if not crop.square:
        return "its crops are not square"
    if (crop.shrink, crop.enlarge) != INTERPOLATIONS:
        return f"crops are resized by {crop.shrink} and {crop.enlarge}, not {' and '.join(INTERPOLATIONS)}"
    return None
