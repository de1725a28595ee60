"""The pages that people follow, as steps: what is typed, what should be seen, what is written into a file."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What only the reader can do: on a board, over a network, as root, or for minutes. All else is run.
BY_HAND = ("sudo", "ssh", "scp", "git", "pipx", "rpicam-hello", "python3", "python", "bears/bin/pip")
TOOLS = ("bash", "sh", "mkdir", "cp", "uname", "aplay")  # all there is on the PATH, so that no real loudspeaker is used
LIMIT_S = 120.0  # a step on a busy machine
OTHER_CODES = {"doctor": {0, 1}}  # this machine may have something broken, and the page says so


@dataclass(frozen=True)
class Step:
    """A command with the lines that should be seen, or a file that is to be written."""

    line: int  # on the page
    command: str = ""
    shown: tuple[str, ...] = ()
    typed: str = ""  # by the reader, at what it asks
    interrupted: bool = False  # with Ctrl-C, once all has been seen
    file: str = ""
    text: str = ""
    append: bool = False

    @property
    def words(self) -> list[str]:
        """The command's words."""
        return shlex.split(self.command)

    @property
    def by_hand(self) -> bool:
        """Return whether it is only looked at."""
        return self.words[0] in BY_HAND

    @property
    def ours(self) -> list[str]:
        """Return what is said to bear-alarm, also as root; nothing for other programs."""
        words = [word for word in self.words if word not in {"sudo", "env"}]
        return words[1:] if words and Path(words[0]).name == "bear-alarm" else []


def steps(page: str) -> list[Step]:
    """The steps of a page under docs/, in order.

    An HTML comment before a YAML block names the file it is; one before a console block, what its commands ask for.
    """
    found: list[Step] = []
    kind, file, append, typed, block, first = "", "", False, "", list[str](), 0
    for number, line in enumerate((DOCS / page).read_text(encoding="utf-8").splitlines(), 1):
        if not kind and (match := re.fullmatch(r"<!-- (file|append): (\S+) -->", line)):
            file, append = match[2], match[1] == "append"
        elif not kind and (match := re.fullmatch(r"<!-- typed: (.+) -->", line)):
            typed = match[1] + "\n"
        elif not kind and line.startswith("```"):
            kind, block, first = line[3:], [], number
        elif kind and line == "```":
            if kind == "console":
                found += [replace(step, typed=typed) for step in console(block, first)]
                typed = ""
            elif file:
                found.append(Step(first, file=file, text="\n".join(block) + "\n", append=append))
                file = ""
            kind = ""
        elif kind:
            block.append(line)
    return found


def console(block: list[str], first: int) -> list[Step]:
    """The commands in a block, each with the lines below it."""
    found: list[Step] = []
    for number, line in enumerate(block, first + 1):
        if line.startswith("$ "):
            found.append(Step(number, line[2:]))
        elif line == "^C":
            found[-1] = replace(found[-1], interrupted=True)
        else:
            found[-1] = replace(found[-1], shown=(*found[-1].shown, line))
    return found


def pattern(shown: str) -> re.Pattern[str]:
    """A line as a page shows it: … is anything, white space is one space."""
    return re.compile(".*".join(re.escape(" ".join(part.split())) for part in shown.split("…")))


def unseen(shown: tuple[str, ...], printed: str) -> list[str]:
    """The lines of a page that did not come, in this order, among those that were printed."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    missing: list[str] = []
    for wanted in shown:
        if wanted.strip() == "…":
            continue
        if missing or not any(pattern(wanted).fullmatch(line) for line in lines):
            missing.append(wanted)
    return missing


@dataclass
class Reader:
    """Somebody who follows a page in a fresh home folder, with stand-ins for a camera, pins and a loudspeaker."""

    home: Path
    folder: Path = field(init=False)
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        tools = self.home.parent / "bin"
        tools.mkdir(parents=True)
        self.home.mkdir()
        self.folder = self.home
        for tool in TOOLS:
            if found := shutil.which(tool):
                (tools / tool).symlink_to(found)
        command = tools / "bear-alarm"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edge "$@"\n')
        command.chmod(0o755)
        (self.home / ".asoundrc").write_text("pcm.!default { type null }\nctl.!default { type null }\n")
        (self.home / "bear-alarm").symlink_to(ROOT)  # the code, which a reader has fetched
        self.env = {
            "PATH": str(tools), "HOME": str(self.home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
            "COLUMNS": "160", "LC_ALL": "C.UTF-8", "GPIOZERO_PIN_FACTORY": "mock",
            "BEAR_ALARM_RPICAM_VID": f"'{sys.executable}' '{ROOT / 'tests/helpers/fake_rpicam_vid.py'}'",
        }  # fmt: skip

    def follow(self, step: Step) -> str:
        """Do one step; what is wrong with it, or nothing."""
        if step.file:
            with (self.folder / step.file).open("a" if step.append else "w", encoding="utf-8") as file:
                file.write(step.text)
            return ""
        if step.by_hand:
            return ""
        printed, code = self._run(step)
        missing = unseen(step.shown, printed)
        right = OTHER_CODES.get(step.ours[0], {0}) if step.ours else {0}
        if not missing and code in right:
            return ""
        return f"line {step.line}: {step.command}\nexit code {code}; not seen: {missing}\n{printed}"

    def _run(self, step: Step) -> tuple[str, int]:
        """Return what it printed, and its exit code; with ^C it is ended once everything was seen."""
        said, where, asked = (self.home.parent / name for name in ("said.txt", "where.txt", "asked.txt"))
        asked.write_text(step.typed)
        script = f'{step.command}\ncode=$?\npwd -P > "{where}"\nexit $code\n'
        with said.open("wb") as out, asked.open("rb") as answers:
            shell = subprocess.Popen(
                ["bash", "-c", f"exec {step.command}" if step.interrupted else script], cwd=self.folder, env=self.env,
                stdin=answers, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + LIMIT_S
        try:
            while shell.poll() is None and time.monotonic() < until:
                if step.interrupted and not unseen(step.shown, said.read_text(errors="replace")):
                    shell.send_signal(signal.SIGINT)
                    shell.wait(LIMIT_S)
                time.sleep(0.1)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
        if not step.interrupted and where.exists():
            self.folder = Path(where.read_text().strip())
        return said.read_text(errors="replace"), shell.returncode
