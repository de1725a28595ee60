"""The model card inside ``bear.onnx``: everything the device must know travels in one file.

It is JSON under ``metadata_props["bear_alarm.card"]``. ``bear-alarm schema card`` prints its JSON
Schema; pydantic checks a card when a model is loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from edge.errors import ModelError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


CARD_KEY = "bear_alarm.card"
CARD_VERSION = 2
READABLE = 1, 2  # a card of version 1 knows no frame scan (``edge.detect.frame_scan``)
EVALUATION_ONLY = "Evaluation only: train on your own pictures before relying on it."

CELL_PX = 32  # a frame's sides are multiples of it: one cell of the network's last feature map
Mode = Literal["crop", "frame"]

MAX_TOLERANCE = 0.5  # a golden tolerance above it would let any network pass
CONTEXTS = 1.0, 3.0
INTERPOLATIONS = "INTER_AREA", "INTER_LINEAR"  # to shrink and to enlarge: what ``edge.detect.crops.fit`` does

EPSILON = 1e-6  # probabilities are kept this far from 0 and 1, where the logit ends


@dataclass(frozen=True)
class Threshold:
    """A bear probability at or above which one picture counts as a bear, and how it was fitted."""

    value: float  # 0 to 1
    recall: float  # on the fitting set, 0 to 1
    false_positive_rate: float  # on the fitting set, 0 to 1
    n_bear: int  # what recall is a share of: crops in mode "crop", degraded copies included; pictures in mode "frame"
    n_no_bear: int  # the same of the false-positive rate
    sources: tuple[str, ...]  # the source set it was fitted on
    # The pictures behind them, None in older cards. Crops of one picture are not independent: intervals count these.
    bear_pictures: int | None = None
    no_bear_pictures: int | None = None


@dataclass(frozen=True)
class CropRule:
    """Rule that turns a region into the network's input (``edge.detect.crops.cut``)."""

    context: float  # the square's side over the region's longer side
    square: bool
    shrink: str  # OpenCV's name of the interpolation when the picture gets smaller
    enlarge: str


@dataclass(frozen=True)
class FrameRule:
    """Describe the frame scan of a whole picture (``edge.detect.frame_scan``): in one pass for each of ``sides``."""

    sides: tuple[int, ...]  # the picture's longer side in pixels, multiples of 32
    windows: tuple[int, ...]  # sides in cells of the square windows that are scored, at least 2
    temperature: float  # inside the graph; fitted on whole pictures


@dataclass(frozen=True)
class OutOfDomain:
    """The ood score's method and the value above which a crop shows as unknown."""

    method: str
    threshold: float
    quantile: float  # of the fitting set's scores that lies at the threshold, of clean and of degraded crops at least
    # What the threshold was fitted on, in-domain and held out; None in older cards.
    crops: int | None = None
    pictures: int | None = None
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Spread:
    """Spread of one figure over the tuning crops, in bins (``edge.detect.drift``)."""

    edges: tuple[float, ...]  # B - 1 ascending bounds between B bins; a value on a bound belongs to the bin below it
    shares: tuple[float, ...]  # of the values in each bin, sum 1


@dataclass(frozen=True)
class DriftReference:
    """Reference for a device's weeks: figures of held-out in-domain crops, clean and degraded."""

    ood: Spread
    bear: Spread  # bear probabilities, 0 to 1
    brightness: Spread  # mean of a crop's pixels, 0 to 1
    crops: int
    pictures: int  # the crops are of; crops of one picture are not independent


@dataclass(frozen=True)
class Parity:
    """Compare the exported graphs on the same degraded crops of the test groups, or on the same whole pictures."""

    crops: int  # pictures, where whole ones were compared
    pictures: int
    sources: tuple[str, ...]
    fp32_max_abs_dp: float  # torch against the fp32 graph, largest difference in probability
    int8_max_abs_dp: float | None = None
    int8_recall_loss: float | None = None  # points of recall (0.01 = 1 point)
    int8_recall_loss_upper95: float | None = None
    int8_decision_agreement: float | None = None  # 0 to 1
    passed: bool = True
    forced: bool = False  # exported although it failed, because it was asked for
    # The gate's thresholds, which may differ from the "crop" threshold that an alarm goes by: the lowest with at
    # most the recipe's share of false positives on the tuning part, int8 letting through no more crops than fp32.
    # None in older cards, whose graphs were each judged at their own "crop" threshold.
    fp32_threshold: float | None = None
    int8_threshold: float | None = None
    fp32_false_positive_rate: float | None = None  # on the test crops at these thresholds, 0 to 1
    int8_false_positive_rate: float | None = None
    frame: Parity | None = None  # the same of the frame scan, on whole pictures of the test part; None in older cards
    note: str | None = None  # what the figures cannot show, one sentence


@dataclass(frozen=True)
class GoldenVector:
    """One small input and what the network answers to it on the machine that exported it."""

    png_base64: str  # (H, W, 3) picture, cut whole (``edge.detect.crops.cut``)
    probabilities: tuple[float, ...]
    ood: float

    @cached_property
    def png(self) -> bytes:
        """Return the PNG file's bytes."""
        return base64.b64decode(self.png_base64)


@dataclass(frozen=True)
class GoldenFrame:
    """One small picture, the size to which it is enlarged, and what the frame scan answers to that."""

    png_base64: str  # (h, w, 3) picture
    size_wh: tuple[int, int]  # pixels, multiples of 32
    bear: float  # of the window with the highest bear probability

    @cached_property
    def png(self) -> bytes:
        """Return the PNG file's bytes."""
        return base64.b64decode(self.png_base64)


@dataclass(frozen=True)
class Card:
    """Model card inside ``bear.onnx``."""

    card_version: int
    name: str
    labels: tuple[str, ...]
    alarm_labels: tuple[str, ...]
    input_sizes: tuple[int, ...]  # allowed square sides in pixels, multiples of 32; the first is the default
    crop: CropRule
    temperature: float
    thresholds: dict[Mode, Threshold]
    prior: float  # share of bears in the calibration set
    ood: OutOfDomain
    backbone: str
    precision: Literal["fp32", "int8"]
    quantization: str | None
    parity: Parity
    digests: dict[str, str]  # SHA-256 of the training table and the split
    counts_by_source: dict[str, int]
    counts_by_licence: dict[str, int]
    licence: str
    notice: str | None  # EVALUATION_ONLY where the pictures demand it
    golden: tuple[GoldenVector, ...]
    golden_tolerance: float  # largest allowed difference in probability
    created: str  # ISO 8601, UTC
    tool_version: str
    drift: DriftReference | None = None  # None in older cards
    input_format: str | None = None  # ``input_format``, for use of the file without bear-alarm; None in older cards
    golden_sha256: str | None = None  # binds the labels to the golden answers (``golden_digest``); None in older cards
    frame: FrameRule | None = None  # None in cards of version 1
    golden_frames: tuple[GoldenFrame, ...] = ()  # empty in cards of version 1

    def to_json(self) -> str:
        """Return the card as it is stored in the file."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @cached_property
    def alarm_columns(self) -> tuple[int, ...]:
        """Return where the alarm labels stand among the probabilities."""
        return tuple(self.labels.index(label) for label in self.alarm_labels)

    @cached_property
    def bear_means(self) -> str:
        """Return the alarm labels in words."""
        return ", ".join(label.replace("_", " ") for label in self.alarm_labels)


def input_format(sizes: Sequence[int]) -> str:
    """Describe the input of a model file for other runtimes; ``sizes``: the crops' sides, pixels."""
    side = " or ".join(map(str, sizes))
    return f"uint8, NHWC [N, {side}, {side}, 3], BGR, 0 to 255; scaling is inside"


def golden_digest(labels: Sequence[str], alarm_labels: Sequence[str], golden: Sequence[GoldenVector]) -> str:
    """SHA-256 of the labels in their order, the alarm labels, and the golden vectors that answer in that order.

    Golden vectors are recomputed by position, so labels in another order would go unnoticed without it.
    """
    answers = [[vector.png_base64, [f"{p:.6f}" for p in vector.probabilities]] for vector in golden]
    return hashlib.sha256(json.dumps([list(labels), list(alarm_labels), answers]).encode()).hexdigest()


# A card out of a model file: of which version it is, whether it can be used, and what contradicts itself.


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
        return "a label is listed twice"
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
    if not 0.0 < card.golden_tolerance <= MAX_TOLERANCE:  # NaN is neither
        return f"golden tolerance {card.golden_tolerance} is not above 0 and at most {MAX_TOLERANCE}"
    if (card.frame is None) != (card.card_version == 1):
        return f"version {card.card_version} {'with a' if card.frame else 'without a'} rule for whole frames"
    if card.frame and not card.golden_frames:
        return "no golden frame"
    return _crop_problem(card.crop) or _frame_problem(card.frame)


def _frame_problem(frame: FrameRule | None) -> str | None:
    if frame is None:
        return None
    if not frame.sides or any(side <= 0 or side % CELL_PX for side in frame.sides):
        return f"longer sides {frame.sides} of frames are not multiples of {CELL_PX}"
    if not frame.windows or any(window < 2 or window * CELL_PX > min(frame.sides) for window in frame.windows):
        return f"windows of {frame.windows} cells do not fit into frames of {frame.sides} pixels"
    return None


def _crop_problem(crop: CropRule) -> str | None:
    least, most = CONTEXTS
    if not least <= crop.context <= most:
        return f"crop context {crop.context} is not between {least:g} and {most:g}"
    if not crop.square:
        return "its crops are not square"
    if (crop.shrink, crop.enlarge) != INTERPOLATIONS:
        return f"crops are resized by {crop.shrink} and {crop.enlarge}, not {' and '.join(INTERPOLATIONS)}"
    return None


def sigmoid(logits: float) -> float:
    """Return the probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-logits))


def logit(p: float) -> float:
    """log(p / (1 - p)), p kept away from 0 and 1."""
    p = min(max(p, EPSILON), 1.0 - EPSILON)
    return math.log(p / (1.0 - p))
