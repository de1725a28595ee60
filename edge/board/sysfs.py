"""Small files that a kernel makes up as they are read: what is missing, refused or garbled is None; nothing raises."""

from __future__ import annotations

from pathlib import Path

MOST_BYTES = 65_536  # /proc/cpuinfo of a big machine is cut; nothing here is meant to be longer
MOST_ENTRIES = 256


def text(path: Path) -> str | None:
    """What the file holds, without the blanks and NULs around it; None where it is missing, empty or unreadable."""
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES)
    except (OSError, ValueError):
        return None
    return found.decode("utf-8", "replace").strip(" \t\r\n\0") or None


def number(path: Path, base: int = 10) -> int | None:
    """The whole number that the file holds and nothing else; None where it holds no such thing."""
    return whole(text(path), base)


def whole(words: str | None, base: int = 10) -> int | None:
    """A whole number in words; None where they are none, or a longer one than any counter has."""
    if words is None or len(words) > 24:
        return None
    try:
        return int(words, base)
    except ValueError:
        return None


def there(path: Path) -> bool:
    """Whether there is such a file or folder, as far as this user may know."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in the folder, by name; nothing where there is no such folder."""
    try:
        return sorted(folder.glob(pattern))[:MOST_ENTRIES]
    except (OSError, ValueError):
        return []


def pairs(path: Path) -> dict[str, str]:
    """Lines such as ``MemTotal: 1234 kB`` or ``NAME="Debian"`` by what stands before the sign; the first of a name."""
    found: dict[str, str] = {}
    for line in (text(path) or "").splitlines():
        name, sign, value = line.partition(":" if ":" in line.partition("=")[0] else "=")
        if sign and name.strip():
            found.setdefault(name.strip(), value.strip().strip("\"'"))
    return found
