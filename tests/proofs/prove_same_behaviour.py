"""What the program does, seen from outside: recorded into a folder, and two such folders compared.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_same_behaviour.py record FOLDER [--only clips,faults …]
    python tests/proofs/prove_same_behaviour.py compare FOLDER_A FOLDER_B [--only …]

For a change that must change nothing: record before and after it, on one machine. It knows the command line, the names
of test functions and the pictures, nothing of the code; same_behaviour.txt beside it says what is tried. Numbers are
rounded to 1e-4. Of what differs each time (ids, wall times, durations) only the type is kept, of speeds the structure,
of the machine's state the names; "to read" is not compared. Without BEAR_ALARM_PICTURES the bundled clip is all.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ROOT = next(each for each in Path(__file__).resolve().parents if (each / "pyproject.toml").is_file())
PICTURES = Path(os.environ.get("BEAR_ALARM_PICTURES") or "nowhere").resolve()
MASKS = {r"\b20\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?": "DATE", r"\d{6}-(\w+-ID)": r"TIME-\1"}
MASKS |= {r"@[0-9a-f]{12}": "@MODEL", r"127\.0\.0\.1:\d{5}": "HERE", r"bears-[0-9a-f]{16}": "TOPIC"}
TEXT = Path(__file__).with_name("same_behaviour.txt").read_text(encoding="utf-8")
PLAN = {name: re.findall(r"^[^#\n].*", lines, re.M) for name, lines in re.findall(r"^\[(\w+)\]([^\[]*)", TEXT, re.M)}
VOLATILE = set(PLAN["volatile"])


class Scratch:
    """A folder to run commands in, as a user with nothing in their home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        (self.folder / "home").mkdir()
        self.env = {name: one for name, one in os.environ.items() if not name.startswith(("BEAR_ALARM", "XDG"))}
        self.env |= {"HOME": str(self.folder / "home"), "BEAR_ALARM_STATE": str(self.folder / "state")}
        self.env |= {"COLUMNS": "120", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.command = str(Path(sys.executable).with_name("bear-alarm"))
        self.ids: set[str] = set()

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        where: dict[str, Any] = {"cwd": self.folder, "env": self.env, "stdin": subprocess.DEVNULL, "timeout": 600}
        return subprocess.run([self.command, *args], capture_output=True, text=True, check=False, **where)

    def clean(self, value: Any, drop: set[str] = VOLATILE) -> Any:
        """The value without what differs each time."""
        if isinstance(value, dict):
            return {key: kind(one) if key in drop else self.clean(one, drop) for key, one in value.items()}
        if isinstance(value, list):
            return [self.clean(one, drop) for one in value]
        if not isinstance(value, str):
            return round(value, 4) if isinstance(value, float) else value
        folders = {re.escape(str(folder)) + r"(/[\w./-]*/|/)?": "" for folder in (self.folder, ROOT)}
        ids = dict.fromkeys(sorted(self.ids, key=len, reverse=True), "ID")
        for pattern, word in (folders | ids | MASKS).items():
            value = re.sub(pattern, word, value)
        return value

    def file(self, name: str) -> Any:
        """Return what is in a file: its data, its lines, its headings, its names, or a hash."""
        path = self.folder / name
        if path.is_dir():
            return sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
        if path.suffix == ".zip":
            return sorted(zipfile.ZipFile(path).namelist())
        if path.suffix == ".png":
            return hashlib.sha256(path.read_bytes()).hexdigest()
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return re.findall(r"<h\d[^>]*>.*?</h|<img", text) if path.suffix == ".html" else answer(text)

    def watch(self, *args: str) -> dict[str, Any]:
        """Watch something without evidence; the events, and what was seen and thought in each frame."""
        ended = self("watch", *args, "--no-evidence", "--events", "events", "--trace", "moments", "--quiet")
        kept: dict[str, Any] = {"exit": ended.returncode, "to read": ended.stderr}
        for name in ("events", "moments"):
            found = self.clean(self.file(name), VOLATILE | {"seq"})
            ours = [one for one in (found if isinstance(found, list) else [found]) if "camera" in one]
            kept[name] = sorted(ours, key=lambda one: str(one["camera"]))  # the order between cameras is chance
            (self.folder / name).unlink(missing_ok=True)
        return kept


def answer(text: str) -> Any:
    """JSON, lines of JSON, or lines of text."""
    lines = [line.rstrip() for line in text.splitlines()]
    for parts in ([text], lines):
        with suppress(ValueError):
            found = [json.loads(part) for part in parts]
            return found if parts is lines else found[0]
    return lines


def kind(value: Any) -> Any:
    """The structure of a value: keys and types."""
    if isinstance(value, dict):
        return {key: kind(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(kind(one)) for one in value})
    return "number" if type(value) in {int, float} else type(value).__name__


def clips(run: Scratch) -> Iterator[tuple[str, Any]]:
    """Watch every clip, and the bundled one in other scans."""
    yield "demo", run.watch("demo")
    yield "demo slowly", run.watch("demo", "--fps", "4", "--threshold", "0.3", "--alarm-at", "3")
    yield "demo in a zone", run.watch("demo", "--zone", "a=0,0 .5,0 .5,1 0,1", "--mask", ".8,0 1,0 1,1 .8,1")
    yield "demo twice", run.watch("a=demo", "b=demo", "--schedule", "daily 00:00-00:01")
    for path in sorted(each for each in PICTURES.rglob("*") if re.fullmatch(r"\.(mp4|mov|avi|mkv|webm)", each.suffix)):
        yield path.stem, run.watch(str(path))


def commands(run: Scratch) -> Iterator[tuple[str, Any]]:
    """Each command's options and answers."""
    yield from options(run)
    told: list[Any] = []
    names = {"hook": f"http://127.0.0.1:{webhook(told)}/"}
    steps = list(PLAN["device"])
    if (PICTURES / "MANIFEST.csv").is_file():
        names["clip"] = choose(run.folder)
        names["bundled"] = json.loads(run("model", "show", "--json").stdout)["file"]
        steps += PLAN["training"]
    for step in steps:
        line, _, files = step.partition(" -> ")
        ended = run(*shlex.split(line.format(**names)))
        if "{hook}" in line:
            ids = re.findall(r"[0-9a-f]{32}", (run.folder / "e.jsonl").read_text())
            run.ids = {each[:size] for each in ids for size in (8, 16, 32)}
            yield "posted to a webhook", {"posts": sorted(map(json.dumps, run.clean(told)))}
        more = PLAN["diagnosis"] if "doctor" in line else PLAN["made"] if "m.onnx" in line else []
        drop = set() if line.startswith("schema") else VOLATILE.union(more)
        said = answer(ended.stdout)
        kept = {"exit": ended.returncode, "answer": kind(said) if line.startswith("bench") else run.clean(said, drop)}
        yield line, kept | {name: run.clean(run.file(name), drop) for name in files.split()} | {"to read": ended.stderr}


def options(run: Scratch, command: str = "") -> Iterator[tuple[str, Any]]:
    """The commands and options that a help page names, and those of the pages below it."""
    page = run(*command.split(), "--help").stdout
    below = re.findall(r"^  ([a-z]+)  +\S", re.split(r"\n(?:Arguments|Options):", page)[0], re.MULTILINE)
    taken = re.findall(r"^  (-.*?|[A-Z][^a-z\s]*)(?:  |$)", page, re.MULTILINE)
    yield f"help {command}", {"commands": below, "options": sorted(taken)}
    for each in below:
        yield from options(run, f"{command} {each}".strip())


def webhook(told: list[Any]) -> int:
    """The port of a server on this machine that keeps what is posted to it."""

    class Posts(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            text = json.loads(body) if "json" in self.headers["Content-Type"] else self.headers["Content-Type"]
            told.append({"headers": sorted(self.headers.keys()), "body": text})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Posts)  # on loopback only
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def choose(folder: Path, most: int = 6) -> str:
    """Copy some pictures of each label with their tables, some without, and the three smallest clips."""
    kinds: dict[tuple[str, bool], list[str]] = defaultdict(list)
    table = (PICTURES / "MANIFEST.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    for row in sorted(csv.DictReader(table), key=lambda row: row["file"]):
        if row["file"].endswith(".jpg"):
            kinds[row["label"], bool(row.get("condition"))].append(row["file"])
    chosen = [name for each in kinds.values() for name in each[:: max(1, len(each) // most)][:most]]
    copy(PICTURES, folder / "pictures", chosen, "MANIFEST.csv", "boxes.csv")
    copy(PICTURES, folder / "plain", [name for name in chosen if name.startswith(("brown", "black", "no_"))])
    videos = sorted((PICTURES / "videos").glob("*.mp4"), key=lambda path: path.stat().st_size)
    smallest = [path.name for path in videos[:3]]
    copy(PICTURES / "videos", folder / "videos", smallest, "videos.csv")
    return f"videos/{smallest[0]}"


def copy(source: Path, target: Path, files: list[str], *tables: str) -> None:
    """Copy files, and the rows of tables that are about them."""
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    for name in tables:
        head, *rows = (source / name).read_text(encoding="utf-8").splitlines(keepends=True)
        about = [row for row in rows if any(f"{file}," in row for file in files)]
        (target / name).write_text(head + "".join(about), encoding="utf-8")


def mistakes(run: Scratch) -> Iterator[tuple[str, Any]]:
    """Yield what typical mistakes end with."""
    (run.folder / "empty").mkdir()
    for name, text in (("text", "no model"), ("bad.yml", "cameras: [\n"), ("unknown.yml", "camera: 1\nfps: often\n")):
        (run.folder / name).write_text(text)
    for line in PLAN["mistakes"]:
        ended = run(*shlex.split(line))
        said = run.clean(ended.stdout + ended.stderr)
        yield line, {"exit": ended.returncode, "traceback": "Traceback" in said, "to read": said}


def faults(run: Scratch) -> Iterator[tuple[str, Any]]:
    """The outcomes of tests that kill, fill disks, cut the power or the network, or know the answers."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        names = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        found += [f"{path}::{name}" for name in names if any(part in name for part in PLAN["faults"])]
    line = [sys.executable, "-m", "pytest", "-q", "-n2", "--dist=loadgroup", f"--junitxml={run.folder}/report", *found]
    said = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout
    outcomes: dict[str, Any] = {}
    for case in ET.parse(run.folder / "report").iter("testcase"):
        bad = [each.tag for each in case if each.tag in {"failure", "error", "skipped"}]
        outcomes[case.attrib["name"]] = sorted([*outcomes.get(case.attrib["name"], []), *(bad or ["passed"])])
    yield "outcomes", {**outcomes, "to read": said[-3000:]}


GROUPS = {each.__name__: each for each in (clips, commands, mistakes, faults)}


def record(folder: Path, groups: list[str]) -> None:
    """Record the groups, an item a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in groups:
        for old in folder.glob(f"{group}-*.json"):
            old.unlink()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            for name, item in GROUPS[group](Scratch(Path(scratch))):
                path = folder / f"{group}-{re.sub(r'[^a-zA-Z0-9_.-]+', '_', name)[:99]}.json"
                path.write_text(json.dumps({"name": name} | item, indent=0), encoding="utf-8")
                print(f"{time.strftime('%X')}  {group}: {name}", file=sys.stderr)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Each place where two values differ, in a sentence."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new} - {"to read"}):
            if key in old and key in new:
                yield from differences(old[key], new[key], f"{where} {key}")
            else:
                yield f"{where} {key} is {'gone' if key in old else 'new'}"
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where} had {len(old)} entries and has {len(new)}"
        for index, pair in enumerate(zip(old, new, strict=False)):
            yield from differences(*pair, f"{where} [{index}]")
    elif old != new:
        yield f"{where} was {json.dumps(old)[:300]} and is {json.dumps(new)[:300]}"


def compare(old: Path, new: Path, groups: list[str], most: int = 8) -> bool:
    """Print what differs; whether anything does, or nothing could be compared."""
    names = sorted({path.name for one in groups for path in (*old.glob(f"{one}-*.json"), *new.glob(f"{one}-*.json"))})
    differing = 0
    for name in names:
        both = [json.loads(path.read_text()) for path in (old / name, new / name) if path.is_file()]
        found = list(differences(*both)) if len(both) == 2 else ["is in one of the two folders only"]
        differing += bool(found)
        for each in found[:most] + [f"and {len(found) - most} differences more"] * (len(found) > most):
            print(f"{name.removesuffix('.json')}: {each.strip()}.")
    print(f"{differing} of {len(names)} items differ.")
    return bool(differing or not names)


def main() -> None:
    """Record, or compare and exit with 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"], nargs="?")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, with commas between them")
    asked = parser.parse_args()
    match asked.what, asked.folders:
        case "record", [folder]:
            record(folder, asked.only.split(","))
        case "compare", [old, new]:
            sys.exit(compare(old, new, asked.only.split(",")))
        case _:
            parser.exit(2 if asked.what else 0, parser.format_usage())


if __name__ == "__main__":
    main()
