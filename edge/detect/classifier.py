"""One class around the ONNX file: crops in, probabilities and an out-of-domain score out."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.background import cores
from edge.detect.card import CARD_KEY, Card, read_card
from edge.detect.crops import cut, cut_all, fit_to
from edge.detect.graph_cache import GraphCache
from edge.detect.run_queue import Outcome, RunQueue
from edge.errors import ModelError, OptionError
from edge.model_store import Installed, ModelStore
from edge.schema import WHOLE, Picture, Region, Score
from edge.species import share_of

log = logging.getLogger(__name__)

SCAN = "scan"  # the switch of the windows inside the file: without it crops would pay for them
BATCH = 4  # crops a call; a larger batch is no faster on one thread and takes more memory (8: 27 MB more)

ENVIRONMENT = "BEAR_ALARM_MODEL"
BUNDLED = Path(__file__).parents[1] / "models" / "bear.onnx"


class Classifier:
    """A bear classifier read from ``bear.onnx``.

    Loading checks the card and recomputes its golden vectors; where this processor gets the int8
    file wrong (AVX2 without VNNI can saturate), the same file runs in float and ``fallback`` is True.
    ``in_float`` runs an int8 file so from the beginning (``bear-alarm bench`` says which is faster here).
    ``need_frame_scan`` refuses a file of an older version, which has none. ``cached``: take the graph that was
    optimised at an earlier start (``edge.detect.graph_cache``), or keep this one's for the next; not ``in_float``.
    Raises ModelError when the file is missing, damaged, without a usable card, or wrong both ways.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        threads: int = 1,
        in_float: bool = False,
        need_frame_scan: bool = False,
        cached: bool = False,
    ) -> None:
        self.path = Path(path)
        self.digest = file_digest(self.path)
        self.fallback = False
        self._runs = RunQueue(cores())
        cache = GraphCache(self.digest) if cached else None
        if not (cache and self._take_kept(cache, threads)):
            self._take_model(cache, threads, in_float=in_float)
        if self.card.frame is None and need_frame_scan:
            raise ModelError(
                f"{self.path}: made by an older version, without the frame scan; train and export it again"
            )
        if self.card.frame is None:
            log.warning(
                "%s: made by an older version; it sees whole pictures worse than it could: train and export it again",
                self.path,
            )
        if self.fallback:
            log.warning("this processor computes int8 wrongly; running in float")

    def _take_kept(self, cache: GraphCache, threads: int) -> bool:
        """Compute with the graph of an earlier start; False where none can be trusted."""
        kept = cache.find()
        if kept is None:
            return False
        graph, self.fallback = kept
        with suppress(ModelError, OSError):
            text = self._take(_session(self.path, threads, graph, in_float=self.fallback))
            if self._right and self._carries(text):  # else it is the graph of another model, with its golden vectors
                return True
        cache.drop()
        self.fallback = False
        return False

    def _carries(self, card: str) -> bool:
        """Return True if the model's file has this text; at its end, where a card is, only that is read."""
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.rfind(card.encode()) >= 0

    def _take_model(self, cache: GraphCache | None, threads: int, *, in_float: bool) -> None:
        """Compute with the model itself, in float where this processor gets int8 wrong."""
        self._take(_session(self.path, threads, keep=cache.begin() if cache else None, in_float=in_float))
        if not self._right:
            if cache:
                cache.drop()
            quantized_error, self.fallback = self.golden_error, True
            self._take(_session(self.path, threads, keep=cache.begin() if cache else None, in_float=True))
            if not self._right:
                if cache:
                    cache.drop()
                raise ModelError(
                    f"{self.path}: this processor computes the model wrongly (golden vectors differ by "
                    f"{quantized_error:.3f}, in float by {self.golden_error:.3f}; "
                    f"allowed {self.card.golden_tolerance}); "
                    "export it again, with --precision fp32 if need be"
                )
        if cache:
            cache.keep(in_float=self.fallback)

    def _take(self, session: ort.InferenceSession) -> str:
        """Compute with this session from now on: read its card, check the golden vectors, return the card's text."""
        self._session = session
        text: str = session.get_modelmeta().custom_metadata_map.get(CARD_KEY, "")
        self.card: Card = read_card(text, self.path)
        self.card_digest = hashlib.sha256(text.encode()).hexdigest()  # as a signature's comment has it
        self.size = self.card.input_sizes[0]
        self.golden_error = self._golden_error()
        return text

    @property
    def _right(self) -> bool:
        return self.golden_error <= self.card.golden_tolerance

    @property
    def name(self) -> str:
        """Return the model's name and short digest, as events carry it."""
        return f"{self.card.name}@{self.digest[:12]}"

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (N, labels) and ood (N,) of uint8 crops (N, size, size, 3) BGR."""
        if not len(crops):
            return np.empty((0, len(self.card.labels)), np.float32), np.empty(0, np.float32)
        parts = [self._runs(self._run_crops, crops[at : at + BATCH], BATCH) for at in range(0, len(crops), BATCH)]
        probabilities, ood = map(np.concatenate, zip(*parts, strict=True))
        return probabilities, ood

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        """Return what the classifier says of each region of one picture, in the same order."""
        # Cut as they are scored: all crops of a picture at once would take memory for nothing.
        parts = (regions[start : start + BATCH] for start in range(0, len(regions), BATCH))
        return [score for part in parts for score in self._score_part(image, part)]

    def windows(
        self, frames: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Score the windows of whole pictures by a file of card version 2, (N, H, W, 3) BGR, H and W multiples of 32.

        Probabilities (N, K, labels) of the windows that the card's ``frame`` names, each size row by row; a map of
        bears (N, H / 32, W / 32), larger where one is; and ood (N,). ``edge.detect.frame_scan`` makes regions of it.
        """
        windows, heat, ood = self._runs(self._run_scan, frames, 1)
        return windows, heat, ood

    def _run_crops(self, crops: NDArray[np.uint8]) -> Outcome:
        return tuple(self._session.run(["probabilities", "ood"], {"crops": crops}))

    def _run_scan(self, frames: NDArray[np.uint8]) -> Outcome:
        return tuple(self._session.run(["windows", "heat", "ood"], {"crops": frames, SCAN: np.array(True)}))

    def _score_part(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        crops = cut_all(image, [region.box_xywh for region in regions], self.size, self.card.crop.context)
        probabilities, ood = self(crops)
        return [scored(self.card, *each) for each in zip(regions, probabilities, ood, strict=True)]

    def _golden_error(self) -> float:
        """Return the largest difference in probability between the card's golden vectors and this machine."""
        try:
            return self._golden_difference()
        except ModelError:
            raise
        except Exception as error:  # base64, OpenCV, a shape, or onnxruntime's own unexported classes
            first = (str(error).splitlines() or [""])[0][:120]
            raise ModelError(
                f"{self.path}: its golden vectors cannot be computed ({type(error).__name__}: {first}); "
                "copy or export the model again"
            ) from None

    def _golden_difference(self) -> float:
        inputs = [cut(self._golden_picture(vector.png), WHOLE, self.size) for vector in self.card.golden]
        probabilities, _ = self(np.stack(inputs))
        expected = np.array([vector.probabilities for vector in self.card.golden], np.float32)
        errors = [float(np.abs(probabilities - expected).max())]
        for golden in self.card.golden_frames:
            found, _, _ = self.windows(fit_to(self._golden_picture(golden.png), golden.size_wh)[None])
            best = float(found[0][:, list(self.card.alarm_columns)].sum(1).max())
            errors.append(abs(best - golden.bear))
        return max(errors) if np.isfinite(errors).all() else float("inf")

    def _golden_picture(self, png: bytes) -> Picture:
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ModelError(f"{self.path}: a golden vector in the card is not a picture; export the model again")
        return np.asarray(picture, np.uint8)


def scored(card: Card, region: Region, row: NDArray[np.float32], ood: float) -> Score:
    """Return a region's probabilities (labels,) and out-of-domain score as a ``Score``."""
    alarm, probabilities = row[list(card.alarm_columns)], tuple(float(p) for p in row)
    label = card.alarm_labels[int(alarm.argmax())]
    return Score(
        region=region,
        probabilities=probabilities,
        bear=float(min(alarm.sum(), 1.0)),
        label=label,
        ood=float(ood),
        share=share_of(label, dict(zip(card.labels, probabilities, strict=True))),
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a model file, in hexadecimal. Raises ModelError when it cannot be read or is empty."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file; name a .onnx file made by `bear-alarm export`") from None
    except OSError as error:
        raise ModelError(
            f"{path}: cannot read the model file ({error.strerror}); check the path and its permissions"
        ) from None
    raise ModelError(f"{path}: the model file is empty (0 bytes); copy or export it again")


def _session(
    path: Path, threads: int, graph: Path | None = None, *, keep: Path | None = None, in_float: bool
) -> ort.InferenceSession:
    """Load a model file, or the ``graph`` that was optimised from it; ``keep``: write what is optimised there.

    By their names: a session keeps the bytes of what it is given as such.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # It holds one block for each number of crops, beside the arena's own: 11 MB more, and no faster.
    options.enable_mem_pattern = False
    # With default spinning two threads burn 42 ms of CPU for 5 ms of inference.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if in_float:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if graph:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    elif keep:
        options.optimized_model_filepath = str(keep)
        # An ONNX file of the fully optimised graph names a value of its If twice, and cannot be loaded.
        options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        return ort.InferenceSession(str(graph or path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own unexported classes
        if keep:  # a full disk
            keep.unlink(missing_ok=True)
            return _session(path, threads, in_float=in_float)
        reason = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).splitlines()[0])[:120]
        why = "" if type(error).__name__ == "InvalidProtobuf" else f" ({reason})"  # it would repeat the sentence
        raise ModelError(
            f"{path}: onnxruntime cannot load it, the file is truncated or not an ONNX model{why}; "
            "copy or export it again"
        ) from None


# Which model file the alarm uses: the one named, else the installed one, else the one that ships.


def user_folder() -> Path | None:
    """Return where this user's settings live (XDG base directories; %APPDATA% on Windows); None without a home."""
    for variable in ("XDG_CONFIG_HOME", "APPDATA"):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / "bear-alarm"
    try:
        return Path.home() / ".config" / "bear-alarm"
    except RuntimeError:  # a service user may have no home
        return None


def left_by_older() -> list[Path]:
    """List what an older version's ``model use`` left in the user's folder: the chosen file, then the one before it."""
    folder = user_folder()
    left = [folder / name for name in ("model.onnx", "model.previous.onnx")] if folder else []
    return left if left and left[0].is_file() else []


def ships() -> list[Path]:
    """List the files to take where none is installed, the next one where one before it is bad; they may be missing."""
    return [*left_by_older(), BUNDLED]


def find(model: str | None = None, state: Path | None = None) -> Path:
    """Return the model file: ``model``, else $BEAR_ALARM_MODEL, else the installed one, else the bundled one.

    ``state``: the state folder whose models are meant; None: this user's. Raises ModelError when the one named or
    installed is not a file, the list of installed models is damaged, or no model ships.
    """
    if named := _named(model):
        return named
    store, installed = _installed(state)
    first = _in_order(store, installed)[0]
    if not first.is_file():
        what = "this installation ships no model" if first == BUNDLED else "the installed model is missing"
        todo = "name one with --model FILE" if first == BUNDLED else "run `bear-alarm model rollback`"
        raise ModelError(f"{first}: {what}; {todo}")
    return first


def load(model: str | None = None, state: Path | None = None, *, loaded: Classifier | None = None) -> Classifier:
    """Return the classifier of the file ``find`` names, or ``loaded`` where it is of the same bytes.

    An installed model gone bad, or a damaged list of them, gives way to the model before it, then to the bundled one,
    with a warning. A model the user named is never replaced: its ModelError is raised.
    """
    if named := _named(model):
        return take(named, None, loaded)
    problems = []
    try:
        store, installed = _installed(state)
    except ModelError as error:
        problems.append(error)
        store, installed = None, Installed()
    for path in _in_order(store, installed):
        try:
            classifier = take(path, path.stem if store and path.parent == store.folder else None, loaded)
        except ModelError as error:
            problems.append(error)
            continue
        for each in problems:
            log.warning("%s", each)
        if problems:
            log.warning("going on with %s; choose again with `bear-alarm model use`", path)
        return classifier
    *others, last = problems
    for each in others:
        log.warning("%s", each)
    raise last


def _named(model: str | None) -> Path | None:
    """Return the file that the user named, if any. Raises ModelError where it is none."""
    for named, whence in ((model, "--model"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if named:
            path = Path(named).expanduser()
            if path.is_dir():
                raise ModelError(f"{path}: {whence} names a folder, not a model file; name the .onnx file in it")
            if not path.exists():
                raise ModelError(f"{path}: no such model file ({whence}); name one made by `bear-alarm export`")
            return path
    return None


def _installed(state: Path | None) -> tuple[ModelStore | None, Installed]:
    """Return the store and its list; None and an empty one for a user without a home. Raises ModelError."""
    try:
        store = ModelStore.of(state)
    except OptionError:
        if state:
            raise
        return None, Installed()
    return store, store.read()


def _in_order(store: ModelStore | None, installed: Installed) -> list[Path]:
    """List the files to take, the next one where one before it is bad; the first may be missing."""
    slots = [store.slot(each) for each in (installed.current, installed.previous) if store and each]
    return slots + ships() if installed.current else ships() + slots


def take(path: Path, digest: str | None = None, loaded: Classifier | None = None) -> Classifier:
    """Load a file, which must have this digest, if any; ``loaded`` is returned where it has its bytes.

    Raises ModelError.
    """
    if digest or loaded:
        found = file_digest(path)
        if digest and digest != found:
            raise ModelError(
                f"{path}: its bytes were changed after it was installed; install it again, or choose another"
            )
        if loaded and loaded.digest == found:
            return loaded
    return Classifier(path, cached=True)
