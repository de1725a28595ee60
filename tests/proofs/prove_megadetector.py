"""Have MegaDetector's own tools read what bear-alarm writes: its validator, its merge and its converters.

    python tests/proofs/prove_megadetector.py [--images 200000]

The package megadetector is installed without what it depends on (no torch) into a folder of its own. Two cards, frames
of the demo with times, a clip and a broken file, are classified by the bundled model, one of them also as a shard.
With them go a person and a fox by another program, and what a person said. The results are merged and converted by
bear-alarm, and read by MegaDetector's tools. A warning is any line of theirs that says so, or says error. Last, the
memory and time that merging so many results takes, beside a tenth of them. Only where packages can be installed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

import edge.demo
from edge.batch.results import Result, ResultFiles, write_megadetector
from edge.camera import open_source
from edge.cli.classify_formats import Formats, write_formats
from edge.detect.stills import Row
from tests.helpers.uploads import dated

PACKAGES = ("megadetector", "jsonpickle", "humanfriendly")  # what else its modules import is here already
STEP = 8  # a frame of the demo out of so many
MERGE = """
import resource, sys
from pathlib import Path
from edge.batch.results import ResultFiles, write_megadetector
files = ResultFiles([Path(sys.argv[1])])
write_megadetector(Path(sys.argv[2]), files(), files.info, files.labels)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def make_cards(base: Path) -> list[Path]:
    """Fill two cards with pictures, a clip and a broken file; return their folders."""
    cards = [base / "north", base / "south"]
    for card in cards:
        card.mkdir(parents=True)
    with open_source("demo", fps=10.0) as source:
        for number, frame in enumerate(islice(source, 0, None, STEP)):
            file = cards[number % 2] / f"{number:03}.jpg"
            data = cv2.imencode(".jpg", frame.image)[1].tobytes()
            file.write_bytes(dated(data, f"2026:05:01 03:{number // 60:02}:{number % 60:02}"))
    (cards[0] / "clip.mp4").write_bytes(Path(edge.demo.__file__).with_name("demo.mp4").read_bytes())
    (cards[1] / "broken.jpg").write_bytes((cards[1] / "001.jpg").read_bytes()[:-200])
    return cards


def classify(folder: Path, option: str, out: Path, base: Path) -> Path:
    """Write the results for a folder; return their file."""
    words = [sys.executable, "-m", "edge", "classify", str(folder), option, str(out)]
    subprocess.run(words, check=True, capture_output=True, cwd=base)
    return out


def of_others(base: Path) -> list[Path]:
    """Write what another program and a person said of a third card; return the files."""
    card = base / "west"
    card.mkdir()
    for name in ("person", "fox", "reviewed", "wrong"):
        (card / f"{name}.jpg").write_bytes((base / "north" / "000.jpg").read_bytes())
    info = {"format_version": "1.5", "detector": "v5a", "base_folder": str(card)}
    box = [0.1, 0.2, 0.3, 0.4]
    images = [
        {"file": "person.jpg", "detections": [{"category": "2", "conf": 0.93, "bbox": box}]},
        {
            "file": "fox.jpg",
            "detections": [{"category": "1", "conf": 0.9, "bbox": box, "classifications": [["0", 0.8]]}],
        },
    ]
    whole = {"images": images, "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
             "classification_categories": {"0": "red_fox"}, "info": info}  # fmt: skip
    (base / "other.json").write_text(json.dumps(whole))
    row = Row("reviewed.jpg", "2026-05-01T03:00:00", "west", "brown_bear", None, None, "bear", None, "")
    said = [
        Result(each, by="Ana", human=True, at="2026-05-02T03:00:00Z")
        for each in (row, row._replace(file="wrong.jpg", label="", verdict="none"))
    ]
    write_megadetector(base / "person.json", said, info)
    return [base / "other.json", base / "person.json"]


def said_by(work: Callable[[], Any]) -> tuple[Any, int]:
    """Return what a tool returns, and in how many lines it warns."""
    heard = io.StringIO()
    with redirect_stdout(heard), redirect_stderr(heard):
        result = work()
    lines = [line for line in heard.getvalue().splitlines() if not line.startswith("0 ")]  # 0 validation errors
    return result, sum(bool(re.search("warning|error", line, re.IGNORECASE)) for line in lines)


def checks(
    base: Path, place: Path, results: list[Path], others: list[Path], shard: Path
) -> Iterator[tuple[str, str, int, int]]:
    """Yield each tool, what it read, how many images it found there, and its warnings. Raises what they raise."""
    from megadetector.data_management.integrity_check_json_db import (  # type: ignore[import-not-found]
        IntegrityCheckOptions,
        integrity_check_json_db,
    )
    from megadetector.postprocessing.combine_batch_outputs import (  # type: ignore[import-not-found]
        combine_batch_output_files,
    )
    from megadetector.postprocessing.convert_output_format import (  # type: ignore[import-not-found]
        convert_json_to_csv,
    )
    from megadetector.postprocessing.md_to_coco import md_to_coco  # type: ignore[import-not-found]
    from megadetector.postprocessing.validate_batch_results import (  # type: ignore[import-not-found]
        ValidateBatchResultsOptions,
        validate_batch_results,
    )

    def validated(file: Path, folder: Path) -> tuple[int, int]:
        options = ValidateBatchResultsOptions()
        options.check_image_existence, options.relative_path_base = True, str(folder)
        options.raise_errors, options.return_data = True, True
        found, warned = said_by(lambda: validate_batch_results(str(file), options))
        return len(found["images"]), warned + len(found["validation_results"]["warnings"])

    two, merged, coco = (place / f"{name}.json" for name in ("two", "merged", "bears.coco"))
    write_formats(ResultFiles(results), Formats(out=two))
    write_formats(ResultFiles([*results, *others]), Formats(out=merged, coco=coco))
    for file, words, folder in (*((file, "of one card", file.parent / file.stem) for file in results),
                                (shard, "of a shard", base / "north"),
                                (merged, "merged, with others'", base)):  # fmt: skip
        yield "validate_batch_results", f"results {words}", *validated(file, folder)

    found, warned = said_by(lambda: combine_batch_output_files(list(map(str, results)), str(place / "combined.json")))
    ours = json.loads(two.read_bytes())
    assert found["classification_categories"] == ours["classification_categories"]
    assert sorted(map(detections, found["images"])) == sorted(map(detections, ours["images"]))
    yield "combine_batch_outputs", "results of two cards, as ours merged", len(found["images"]), warned
    ours = json.loads(merged.read_bytes())

    _, warned = said_by(lambda: convert_json_to_csv(str(merged), str(place / "merged.csv")))
    rows = (place / "merged.csv").read_text().count("\n") - 1
    yield "convert_output_format to CSV", "merged", rows, warned

    # It opens no clips: their sizes are given.
    sizes = {image["file"]: (1280, 720) if "frame_rate" in image else None for image in ours["images"]}
    found, warned = said_by(
        partial(md_to_coco, str(merged), str(place / "md.coco.json"), str(base), image_filename_to_size=sizes)
    )
    theirs = {each["image_id"]: each["bbox"] for each in found["annotations"]}
    own = {each["image_id"]: each.get("bbox") for each in json.loads(coco.read_bytes())["annotations"]}
    boxes = {name: box for name, box in own.items() if box}
    assert boxes
    assert all(
        abs(one - other) <= 0.1 for name, box in boxes.items() for one, other in zip(box, theirs[name], strict=True)
    )
    yield "md_to_coco", "merged; its boxes as ours", len(found["images"]), warned

    options = IntegrityCheckOptions()
    options.baseDir, options.bFindUnusedImages, options.requireInfo = str(base), True, True
    options.validateBoxes = "error"
    (_, data, errors), warned = said_by(lambda: integrity_check_json_db(str(coco), options))
    assert not any(errors.values()), errors
    yield "integrity_check_json_db", "COCO Camera Traps", len(data["images"]), warned


def detections(image: dict[str, Any]) -> str:
    """Return what an image's entry says beside its folder."""
    return json.dumps(image | {"file": Path(image["file"]).name}, sort_keys=True)


def merging(place: Path, held: dict[str, Any], count: int) -> tuple[float, float, float]:
    """Return the size in MB, the peak memory in MB and the seconds of merging so many results."""
    images = held.pop("images")
    many = place / "many.json"
    with many.open("w") as file:
        file.write(json.dumps(held | {"images": []})[:-2])
        for number in range(count):
            file.write(",\n" * bool(number) + json.dumps(images[number % len(images)] | {"file": f"{number:07}.jpg"}))
        file.write("]}")
    words = [sys.executable, "-c", MERGE, str(many), str(place / "out.json")]
    started = time.perf_counter()
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return many.stat().st_size / 1e6, float(done.stdout), time.perf_counter() - started


def main() -> None:
    """Print two tables, in Markdown."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--images", type=int, default=200_000)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tools, base = place / "tools", place / "pictures"
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tools), *PACKAGES]
        subprocess.run(
            install, check=True, capture_output=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        )
        sys.path.append(str(tools))
        cards = make_cards(base)
        results = [classify(card, "--out", base / f"{card.name}.json", place) for card in cards]
        shard = classify(cards[0], "--shards", place / "shards", place) / "00001.json"
        print("| MegaDetector's | reads | images | warnings |\n|---|---|---|---|")
        total = 0
        for tool, words, images, warned in checks(base, place, results, of_others(base), shard):
            print(f"| `{tool}` | {words} | {images} | {warned} |", flush=True)
            total += warned
        assert not total
        assert "torch" not in sys.modules
        held = json.loads((place / "merged.json").read_bytes())
        print("\n| merged results | MB | peak memory, MB | s |\n|---|---|---|---|")
        for count in (given.images // 10, given.images):
            size, peak, seconds = merging(place, dict(held), count)
            print(f"| {count:,} images | {size:.0f} | {peak:.0f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
