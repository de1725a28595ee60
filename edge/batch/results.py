"""Results of many files, one at a time; in memory are the names of a million at most (100 MB), and none of shards.

They are read from MegaDetector's format by any program or from Camtrap DP, and written as one
MegaDetector file, CSV or COCO Camera Traps. Each file is written beside its place and put there whole;
what was there stays as ``.old``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TextIO, cast

from edge.detect.sequences import BURST, MAX_IN_BURST, read_head
from edge.detect.stills import (
    DETECTION_CATEGORIES,
    FORMAT_VERSION,
    MAYBE,
    NO_BEAR,
    OWN,
    SHARD,
    UNREADABLE,
    Row,
    Verdict,
    camera_folder,
    is_clip,
    write_rows,
)
from edge.errors import OptionError
from edge.files import whole_file
from edge.pictures import moment
from edge.schema import BoxXYWH
from edge.species import LABELS

PACKAGE = "datapackage.json"  # of Camtrap DP
PIECE = 1 << 20  # characters of a file that are read at once
LONGEST = 64 * PIECE  # of an image's entry; a damaged one seems to go on to the end of the file
IMAGES = "images"
INFO, DETECTIONS, CLASSES = "info", "detection_categories", "classification_categories"
ANIMAL, UNKNOWN, EMPTY = "animal", "unknown", "empty"
THRESHOLD = 0.2  # MegaDetector's own, for files that do not say theirs
EDGE = 0.01  # by which a box may lie outside of its picture
EXIF_TIME = "%Y:%m:%d %H:%M:%S"
WHOLE = (0.0, 0.0, 1.0, 1.0)  # box of a bear that was found without one
RANKS: dict[Verdict, int] = {"none": 0, "maybe": 1, "bear": 2}
# Labels that are no animal, and Camtrap DP's kinds of observations for them.
NOT_ANIMALS = {"person": "human", "human": "human", "vehicle": "vehicle"}
# In Camtrap DP's ``observationTags``: what ``camtrap_reader`` reads back.
LABEL_TAG, VERDICT_TAG, SCORE_TAG = "label:", "verdict:", "score:"
COCO_TITLE = "Bears found by bear-alarm."
OWN_TITLE = "Bear Alarm"  # under ``sources`` in packages by this program
ROUNDED = "Coordinates are rounded"  # in the ``description`` of those without exact places
SAID = "bear_alarm_said"  # who said it, of a single image: MegaDetector's format knows one program for all


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one picture or clip, by a model or by a person."""

    row: Row  # ``row.file``: relative to the folder of the pictures, with forward slashes
    classes: dict[str, float] = field(default_factory=dict)  # alarm label: probability; the likeliest first
    by: str = ""  # the model's name, or the person's
    human: bool = False  # a person said so
    at: str = ""  # when it was classified, ISO 8601 with a zone
    # Its entry in MegaDetector's format, where it has one, with names of categories in place of their numbers.
    image: dict[str, Any] = field(default_factory=dict)


class ResultFiles:
    """The results of several files, of shards or given by a person, as often as they are asked for.

    ``base``: the folder that the names are relative to; None: not known. Of files with several folders it is their
    common parent.
    """

    def __init__(self, paths: Sequence[Path], base: Path | None = None) -> None:
        """Raise OptionError for a file that holds something else. With ``base``, the files are of one plan."""
        self._paths, self._of_one_plan = list(paths), base is not None
        self._heads = [{INFO: {}} if path.name == PACKAGE else _head(path) for path in paths]
        infos = [head[INFO] for head in self._heads]
        folders = [info.get("base_folder") for info in infos]
        self._prefixes = [PurePosixPath()] * len(folders)
        self.base = base
        if base is None and len(set(folders)) > 1 and all(folders):
            self.base, self._prefixes = _common(folders)
        elif base is None:
            found = {_base_of(path, info) for path, info in zip(paths, infos, strict=True)}
            self.base = found.pop() if len(found) == 1 else None
        models = dict.fromkeys(str(info.get("detector")) for info in infos)
        times = [info["detection_completion_time"] for info in infos if info.get("detection_completion_time")]
        self.info: dict[str, Any] = {
            **{key: value for key, value in infos[0].items() if all(info.get(key) == value for info in infos)},
            "format_version": FORMAT_VERSION,
        }
        self.info.pop(SHARD, None)
        if all(info.get("detector") for info in infos):
            self.info["detector"] = ", ".join(models)
        if len(set(folders)) > 1:
            self.info["base_folder"] = None if self.base is None else str(self.base)
        if times:
            self.info["detection_completion_time"] = max(times)
        self.labels = list(dict.fromkeys(label for head in self._heads for label in (head.get(CLASSES) or {}).values()))

    def __call__(self) -> Iterator[Result]:
        """Yield the results of one file after the other. Raises OptionError for two of one name."""
        seen = dict[int, Path]()  # of names their hashes: a million take 100 MB
        for path, head, prefix in zip(self._paths, self._heads, self._prefixes, strict=True):
            for result in _of_package(path) if path.name == PACKAGE else _of_file(path, head, prefix):
                key = hash(result.row.file)
                if key in seen:
                    where = f"twice in {path}" if seen[key] == path else f"in {seen[key]} and in {path}"
                    raise OptionError(
                        f"{result.row.file}: is {where}; give each picture once, or look at both cards again from the "
                        "folder that they lie in"
                    )
                if not self._of_one_plan:
                    seen[key] = path
                yield result


def _base_of(path: Path, info: Mapping[str, Any]) -> Path:
    """Return the folder that the names of a file are relative to: as it says, else where it lies."""
    folder = info.get("base_folder")
    if OWN in info and not folder:  # single pictures, named as they were given
        return Path()
    return Path(folder) if folder and Path(folder).is_dir() else path.parent


def _common(folders: Sequence[str]) -> tuple[Path | None, list[PurePosixPath]]:
    """Return the parent of some folders, None where they lie on several drives, and the folders relative to it."""
    try:
        parent = Path(os.path.commonpath(folders))
    except ValueError:
        return None, [PurePosixPath(Path(folder).as_posix()) for folder in folders]
    return parent, [PurePosixPath(Path(folder).relative_to(parent).as_posix()) for folder in folders]


# Read MegaDetector's format piece by piece. Ours has its head first, MegaDetector's own has it last.


class _Json:
    """The text of a JSON document, of which a piece is in memory at a time."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at = file, "", 0
        self._decode, self._sign = json.JSONDecoder().raw_decode, re.compile(r"\S")

    def _read_on(self) -> None:
        rest = self._text[self._at :]
        piece = self._file.read(max(PIECE, len(rest)))
        if not piece or len(rest) > LONGEST:
            raise ValueError("ends early, or is damaged")
        self._text, self._at = rest + piece, 0

    def sign(self) -> str:
        """Return the next sign that is no space, and stay before it. Raises ValueError at the end."""
        while not (found := self._sign.search(self._text, self._at)):
            self._at = len(self._text)
            self._read_on()
        self._at = found.start()
        return self._text[self._at]

    def take(self, signs: str) -> str:
        """Go behind the next sign, one of these; return it. Raises ValueError for another."""
        if (sign := self.sign()) not in signs:
            raise ValueError(f"{sign} in place of {signs}")
        self._at += 1
        return sign

    def value(self) -> Any:
        """Go behind the next value; return it. Raises ValueError."""
        self.sign()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if end < len(self._text):  # a number at the end of a piece may go on
                    self._at = end
                    return value
            except ValueError:
                pass
            self._read_on()

    def items(self) -> Iterator[Any]:
        """Go through a list; yield its values. Raises ValueError."""
        self.take("[")
        if self.sign() == "]":
            self.take("]")
            return
        yield self.value()
        while self.take(",]") == ",":
            yield self.value()


def _parts(file: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of a JSON object, the images one by one. Raises ValueError for something else."""
    text = _Json(file)
    text.take("{")
    sign = ","
    while sign == ",":
        key = text.value()
        text.take(":")
        if key == IMAGES:
            for image in text.items():
                yield key, image
        else:
            yield key, text.value()
        sign = text.take(",}")


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    """Open a file of results. What is wrong with it is an OptionError."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield file
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        raise OptionError(
            f"{path}: is damaged, or holds something else than results in MegaDetector's format; make it again"
        ) from None


def _head(path: Path) -> dict[str, Any]:
    """Return what a file says beside its images. Raises OptionError."""
    head: dict[str, Any] = {}
    with _reading(path) as file:
        for key, value in _parts(file):
            if key != IMAGES:
                head[key] = value
            elif {INFO, DETECTIONS, CLASSES} <= head.keys():
                break
        if not (isinstance(head[INFO], dict) and isinstance(head[DETECTIONS], dict)):
            raise TypeError("no head")
    return head


def _of_package(path: Path) -> Iterator[Result]:
    from edge.batch.camtrap_reader import read_package

    yield from read_package(path)


def _of_file(path: Path, head: Mapping[str, Any], prefix: PurePosixPath) -> Iterator[Result]:
    """Yield the results of a file with this head, their names below ``prefix``. Raises OptionError."""
    info: dict[str, Any] = head[INFO]
    models = dict.fromkeys(str(info[key]) for key in ("detector", "classifier") if info.get(key))
    made = str(info.get("detection_completion_time", "")).replace(" ", "T")
    at = f"{made}Z" if made and OWN in info else ""  # others do not say their zone
    threshold = (info.get("detector_metadata") or {}).get("typical_detection_threshold", THRESHOLD)
    folder = _base_of(path, info)
    with _reading(path) as file:
        for key, entry in _parts(file):
            if key == IMAGES:
                image = _named(entry, head, prefix)
                if not (OWN in image or image.get("datetime")):
                    taken = read_head(folder / entry["file"].replace("\\", "/")).taken
                    image |= {"datetime": taken.strftime(EXIF_TIME)} if taken else {}
                said = {"by": ", ".join(models), "at": at} | image.get(SAID, {})
                yield Result(_own_row(image) or _row(image, threshold), _classes(image), image=image, **said)


def _named(entry: dict[str, Any], head: Mapping[str, Any], prefix: PurePosixPath) -> dict[str, Any]:
    """Return an image's entry with names of categories for their numbers, as format 1.6 has it."""
    file = entry["file"] if OWN in entry else entry["file"].replace("\\", "/")
    image = entry | {"file": (prefix / file).as_posix()}
    found = entry.get("detections")
    if found is None:
        return image | {"detections": None, "failure": str(entry.get("failure") or UNREADABLE)}
    if wrong := _unsound(found):
        return image | {"detections": None, "failure": wrong}
    names, kinds = head.get(CLASSES) or {}, head[DETECTIONS]
    image["detections"] = _renamed(
        found, lambda number: kinds.get(str(number), UNKNOWN), lambda number: names.get(str(number), UNKNOWN)
    )
    return image


def _unsound(found: Iterable[Mapping[str, Any]]) -> str:
    """Return in a sentence what is wrong with the numbers of a detection; "" for nothing."""
    for each in found:
        numbers = [each["conf"], *each["bbox"]]
        # Some programs round a side beyond the picture. A NaN is not between anything.
        if len(numbers) != 5 or not all(-EDGE <= float(number) <= 1 + EDGE for number in numbers):
            return f"its conf {each['conf']} or box {each['bbox']} is not of shares from 0 to 1; detect it again"
    return ""


def _renamed(
    found: Iterable[dict[str, Any]], category: Callable[[Any], str], species: Callable[[Any], str]
) -> list[dict[str, Any]]:
    """Return detections with other names or numbers of their categories and classifications."""
    detections = []
    for each in found:
        detection = each | {"category": category(each["category"]), "conf": float(each["conf"])}
        if classes := each.get("classifications"):
            detection["classifications"] = [[species(name), p] for name, p in classes]
        detections.append(detection)
    return detections


def _own_row(image: Mapping[str, Any]) -> Row | None:
    """Return the row that this program left; None in a file of another."""
    if OWN not in image:
        return None
    held = {"label": NO_BEAR} | image[OWN]
    return Row(**held | {"file": image["file"], "box": tuple(held["box"]) if held["box"] else None})


def _row(image: Mapping[str, Any], threshold: float) -> Row:
    """Return the row of another program's image: a bear where it is classified as one, maybe where not classified."""
    taken = moment(str(image.get("datetime", "")))
    row = Row(
        file=image["file"],
        time=taken.isoformat() if taken else "",
        camera=camera_folder(image["file"]),
        label="",
        score=None,
        box=None,
        verdict=None,
        second=None,
        problem=image.get("failure") or "",
    )
    if (found := image["detections"]) is None:
        return row
    judged = [(*_judged(each, threshold), each) for each in found]
    if not judged:
        return row._replace(label=EMPTY, verdict="none")
    verdict, label, best = max(judged, key=lambda each: (RANKS[each[0]], each[2]["conf"]))
    rate = image.get("frame_rate") or -1.0
    return row._replace(
        label=label,
        score=None if verdict == "none" else best["conf"],
        box=cast(BoxXYWH, tuple(min(max(side, 0.0), 1.0) for side in best["bbox"])),
        verdict=verdict,
        second=round(best["frame_number"] / rate, 2) if "frame_number" in best and rate > 0 else None,
    )


def _judged(found: Mapping[str, Any], threshold: float) -> tuple[Verdict, str]:
    """Return the verdict on a detection and its label."""
    name, share = _name(found), found["conf"] / threshold
    if share < MAYBE:
        return "none", EMPTY
    if label := bear_label(name):
        return ("bear" if share >= 1 else "maybe"), label
    return ("maybe" if name.lower() in {ANIMAL, UNKNOWN} else "none"), name


def _name(found: Mapping[str, Any]) -> str:
    """Return what a detection is classified as, else its category."""
    classes = found.get("classifications")
    return str(classes[0][0] if classes else found["category"])


def _classes(image: Mapping[str, Any]) -> dict[str, float]:
    """Return the probabilities of the alarm labels of an image's surest bear, the likeliest first."""
    bears = [each for each in image["detections"] or () if bear_label(_name(each))]
    best: Mapping[str, Any] = max(bears, key=lambda each: each["conf"], default={})
    classes = dict[str, float]()
    for name, p in best.get("classifications") or ():
        if (label := bear_label(name)) in LABELS:
            classes[label] = classes.get(label, 0.0) + p
    return dict(sorted(classes.items(), key=lambda item: -item[1]))


BEAR = "bear"  # label of a bear of no known species
BEARS = {*LABELS, BEAR}
_BEAR = {"bear", "bears", "grizzly", "grizzlies", "ursidae", "ursus", "melursus", "helarctos", "tremarctos"}
_KINDS = {
    "brown_bear": {"brown", "grizzly", "grizzlies", "kodiak", "arctos"},
    "black_bear": {
        "black", "moon", "sun", "sloth", "andean", "spectacled", "melursus", "helarctos", "tremarctos",
        *(name.partition(" ")[2] for name in LABELS["black_bear"]),
    },
    "polar_bear": {"polar", "maritimus"},
}  # fmt: skip
_NO_BEAR = {"teddy", "plush", "toy", "panda", "ailuropoda", "koala", "track", "tracks", "scat", "sign", "signs"}
_NEGATIONS = {"no", "not", "without"}


def bear_label(name: str) -> str:
    """Return the alarm label of a category that names a bear, in English or science; "bear" for any; "" for none."""
    words = re.findall("[a-z]+", name.lower())
    at = next((number for number, word in enumerate(words) if word in _BEAR), None)
    if at is None or not _NO_BEAR.isdisjoint(words) or not _NEGATIONS.isdisjoint(words[:at]):
        return ""
    kinds = [label for label, signs in _KINDS.items() if not signs.isdisjoint(words)]
    return kinds[0] if len(kinds) == 1 else BEAR


# Write each format in one pass: what is known at the end stands at the end.


def _line(value: object) -> bytes:
    """Return a value as JSON; bytes of a name that are not UTF-8 as JSON's own escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _write_list(file: BinaryIO, values: Iterable[object]) -> None:
    """Write a list, a value a line."""
    file.write(b"[")
    for number, value in enumerate(values):
        file.write(b",\n" if number else b"\n")
        file.write(_line(value))
    file.write(b"\n]")


def write_megadetector(
    path: Path, results: Iterable[Result], info: Mapping[str, Any], labels: Iterable[str] = ()
) -> None:
    """Write one file in MegaDetector's format 1.6, whole. Raises OptionError.

    ``info``: without a detector it names those that found something; ``labels``: of species, in order.
    """
    kinds: defaultdict[str, str] = defaultdict(lambda: str(len(kinds) + 1))
    kinds.update({name: number for number, name in DETECTION_CATEGORIES.items()})
    names: defaultdict[str, str] = defaultdict(lambda: str(len(names)))
    names.update({label: str(number) for number, label in enumerate(labels)})
    with whole_file(path, keep=True) as file:
        file.write(b'{"images": ')
        models = dict[str, None]()

        def images() -> Iterator[dict[str, Any]]:
            for result in results:
                image = result.image or _entry(result)
                models.update({} if result.human or not result.by else {result.by: None})
                found = image["detections"]
                yield image | {"detections": found and _renamed(found, kinds.__getitem__, names.__getitem__)}

        _write_list(file, images())
        heads = {
            DETECTIONS: {number: name for name, number in kinds.items()},
            CLASSES: {number: name for name, number in names.items()},
            INFO: {"detector": ", ".join(models) or UNKNOWN, **info},
        }
        file.write(b", " + _line(heads)[1:] + b"\n")


def _entry(result: Result) -> dict[str, Any]:
    """Return the entry of a result that has none, with names of categories."""
    row = result.row
    image: dict[str, Any] = {"file": row.file}
    if row.time:
        image["datetime"] = datetime.fromisoformat(row.time).strftime(EXIF_TIME)
    clip = is_clip(Path(row.file))
    if clip:  # the format demands them; -1 is its own word for a rate that is not known
        image |= {"frame_rate": -1.0, "frames_processed": [], "failure": None}
    if row.verdict is None:
        image |= {"detections": None, "failure": row.problem or UNREADABLE}
    elif row.verdict == "none" and row.label in {"", EMPTY, NO_BEAR}:
        image["detections"] = []
    else:
        found = {"category": row.label if row.label in DETECTION_CATEGORIES.values() else ANIMAL}
        classes = result.classes or ({} if found["category"] == row.label else {row.label: 1.0})
        image["detections"] = [
            {
                **found,
                "conf": 1.0 if result.human or row.score is None else float(row.score),
                "bbox": row.box or WHOLE,
                **({"classifications": [[label, p] for label, p in classes.items()]} if classes else {}),
                **({"frame_number": 0} if clip else {}),
            }
        ]
    image[OWN] = {key: value for key, value in row._asdict().items() if key != "file" and value != NO_BEAR}
    image[SAID] = {"by": result.by, "at": result.at, "human": result.human}
    return image


def write_csv(path: Path, results: Iterable[Result]) -> None:
    """Write the table of ``classify --csv``, whole. Raises OptionError."""
    with whole_file(path, keep=True) as file:
        write_rows(file, (result.row for result in results))


def is_own(path: Path) -> bool:
    """Return True for a file that ``write_megadetector``, ``write_csv`` or ``write_coco`` wrote."""
    try:
        with path.open("rb") as file:
            if file.readline(PIECE).strip() == ",".join(Row._fields).encode():
                return True
            file.seek(max(file.seek(0, os.SEEK_END) - PIECE, 0))
            if f'"description": "{COCO_TITLE}'.encode() in file.read():
                return True
        return OWN in _head(path)[INFO]
    except (OSError, OptionError):
        return False


def write_coco(path: Path, results: Iterable[Result], base: Path | None) -> int:
    """Write a file in the format COCO Camera Traps, whole; return how many boxes are no pixels but shares.

    Those are of pictures whose size is not known: of clips, and of what does not lie below ``base`` or is no JPEG.
    One box a picture, the surest. Of a picture in which a model for bears found none nothing is said: it may show
    any other animal. https://lila.science/coco-camera-traps. Raises OptionError.
    """
    numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers))
    numbers.update({name: number for number, name in enumerate((EMPTY, *LABELS, UNKNOWN))})
    shares = 0
    with whole_file(path, keep=True) as file, tempfile.TemporaryFile(dir=path.parent) as aside:

        def images() -> Iterator[dict[str, Any]]:
            nonlocal shares
            separator = b"\n"
            for burst in _bursts(results):
                for number, result in enumerate(burst):
                    image, annotation = _coco(result, base, numbers)
                    if len(burst) > 1:
                        first = burst[0].row.file
                        image |= {"seq_id": first, "seq_num_frames": len(burst), "frame_num": number}
                    if annotation:
                        shares += "bbox_relative" in annotation
                        aside.write(separator + _line(annotation))
                        separator = b",\n"
                    yield image

        file.write(b'{"images": ')
        _write_list(file, images())
        file.write(b', "annotations": [')
        aside.seek(0)
        shutil.copyfileobj(aside, file)
        tail = {
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
            "info": {
                "version": "1.0",
                "description": f"{COCO_TITLE} One box a picture, the surest, with its score. "
                "unknown: maybe a bear, a person should look. Without annotation: no bear was found.",
                "date_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            },
        }
        file.write(b"\n], " + _line(tail)[1:] + b"\n")
    return shares


def _bursts(results: Iterable[Result]) -> Iterator[list[Result]]:
    """Yield what one camera took within ``BURST`` of the first, one after the other; what has no time by itself."""
    burst: list[Result] = []
    began: tuple[str, datetime] | None = None
    still = False  # the camera's clock
    for result in results:
        row = result.row
        taken = datetime.fromisoformat(row.time).replace(tzinfo=None) if row.time else None
        if not (taken and began and began[0] == row.camera and abs(taken - began[1]) <= BURST):
            if burst:
                yield burst
            burst, began, still = [], (row.camera, taken) if taken else None, False
        burst.append(result)
        if still := still or len(burst) > MAX_IN_BURST:
            yield from ([each] for each in burst)
            burst = []
    if burst:
        yield burst


def _coco(
    result: Result, base: Path | None, numbers: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return an image and its annotation in the format COCO Camera Traps; None for one of which nothing is said."""
    row, entry = result.row, result.image or _entry(result)
    image: dict[str, Any] = {"id": row.file, "file_name": row.file}
    if row.camera:
        image["location"] = row.camera
    if row.time:
        image["datetime"] = row.time.replace("T", " ")
    if row.verdict is None:
        return image | {"corrupt": True}, None
    label = UNKNOWN if row.verdict == "maybe" else row.label
    if label != EMPTY and not entry["detections"]:
        return image, None
    annotation: dict[str, Any] = {"id": row.file, "image_id": row.file, "category_id": numbers[label]}
    if label == EMPTY or row.box is None:
        return image, annotation
    if not result.human and row.score is not None and row.score > 0:
        annotation["score"] = row.score
    size = (entry["width"], entry["height"]) if {"width", "height"} <= entry.keys() else None
    if size_wh := size or read_head((base or Path()) / row.file).upright_wh:
        width, height = size_wh
        left, top, across, down = row.box
        image |= {"width": width, "height": height}
        annotation["bbox"] = [round(left * width, 1), round(top * height, 1), round(across * width, 1),
                              round(down * height, 1)]  # fmt: skip
    else:
        annotation["bbox_relative"] = row.box
    return image, annotation
