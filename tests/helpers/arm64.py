"""A minimal arm64 Debian, its Python with the aarch64 wheels of the base dependencies, and QEMU to run it in.

No root rights are needed: apt resolves and fetches the packages in folders of its own, and dpkg only unpacks them.
What was fetched is kept in one folder; delete it to fetch newer packages.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
QEMU = "qemu-aarch64"
GLIBC = range(28, 16, -1)  # 2.28 is the newest that a wheel may ask for; Debian 11 has 2.31
APT = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
"""
# The interpreter's own path is this script, so what the alarm starts in a process of its own is emulated too.
WRAPPER = """#!/bin/sh
export PYTHONHOME={debian}/usr PYTHONPATH={checkout}:{packages} PYTHONPYCACHEPREFIX={cache}/bytecode
exec {qemu} -cpu {cpu} -0 "$0" -L {debian} {debian}/usr/bin/python3 "$@"
"""


class MissingError(Exception):
    """A program or the network is missing: one sentence says which."""


def debian(cache: Path) -> Path:
    """Return the root of the arm64 Debian, of this system's own release and mirror; fetch it the first time."""
    tools = {"apt-get": "apt", "dpkg": "dpkg", QEMU: "qemu-user"}
    if lacking := [package for tool, package in tools.items() if not shutil.which(tool)]:
        raise MissingError(f"{' and '.join(lacking)} must be installed (Debian: sudo apt install {' '.join(lacking)})")
    root = cache / "debian"
    if root.exists():
        return root
    apt, part = cache / "apt", cache / "debian.part"
    for old in (apt, part):
        shutil.rmtree(old, ignore_errors=True)
    for folder in (apt / "lists" / "partial", apt / "archives" / "partial", part):
        folder.mkdir(parents=True)
    (apt / "status").touch()
    (apt / "apt.conf").write_text(APT.format(folder=apt))
    env = os.environ | {"APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C"}
    # libstdc++ for the wheels; base-files has the links /lib -> /usr/lib and the release's name.
    for words in (["update"], ["install", "-y", "--download-only", "base-files", "python3", "libstdc++6"]):
        done = subprocess.run(["apt-get", "-qq", *words], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(
                "apt could not fetch arm64 packages; the first time this needs a network, and a mirror that has them "
                f"({(done.stderr.strip().splitlines() or ['no reason was given'])[-1].rstrip('.')})"
            )
    for package in (apt / "archives").glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(part)], check=True)
    shutil.rmtree(apt)
    return part.rename(root)


def debian_python(root: Path) -> str:
    """Return the version of a Debian's Python, such as "3.13"."""
    return (root / "usr" / "bin" / "python3").readlink().name.removeprefix("python")


def wheels(cache: Path, version: str, *, install: bool = False) -> tuple[list[str], Path]:
    """Return the names of the wheels that aarch64 Linux takes for a Python, and the folder they are installed in.

    Without ``install`` pip only resolves them. Fails with pip's words where a base dependency has no such wheel. pip
    judges environment markers by the Python that runs it.
    """
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    name = f"python{version}-{hashlib.sha256(json.dumps(needs).encode()).hexdigest()[:12]}"
    folder, report = cache / name, cache / f"{name}{'' if install else '-resolved'}.json"
    if not report.exists():
        part = report.with_suffix(".part")
        shutil.rmtree(folder, ignore_errors=True)
        tags = [f"--platform=manylinux_2_{minor}_aarch64" for minor in GLIBC]
        words = [*tags, "--platform=manylinux2014_aarch64", "--only-binary=:all:", "--implementation=cp"]
        words += [f"--python-version={version}", f"--target={folder}", f"--report={part}", "--quiet"]
        words += ["--no-compile", *([] if install else ["--dry-run"]), *needs]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
        done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
        if "connection broken" in done.stderr:
            raise MissingError("pip could not fetch wheels; the first time this needs a network")
        assert done.returncode == 0, f"Python {version} on aarch64: {done.stderr}"
        part.rename(report)
    found = json.loads(report.read_text("utf-8"))["install"]
    return [each["download_info"]["url"].rpartition("/")[2] for each in found], folder


def newest_glibc(names: list[str]) -> str:
    """Return the newest glibc that one of the wheels asks for, by the least that each of them names."""
    asked = [
        min(int(minor) for minor in re.findall(r"manylinux_2_(\d+)_", name) or ["17"])
        for name in names
        if "linux" in name
    ]
    return f"2.{max(asked)}"


def python(cache: Path, cpu: str, packages: Path) -> Path:
    """Write the program that is the arm64 Python on an emulated processor; returns its path."""
    program, root, qemu = cache / f"python-{cpu}", cache / "debian", shutil.which(QEMU)
    text = WRAPPER.format(debian=root, checkout=ROOT, packages=packages, cache=cache, qemu=qemu, cpu=cpu)
    program.write_text(text, "utf-8")
    program.chmod(0o755)
    return program
