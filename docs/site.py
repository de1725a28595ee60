"""Hooks of mkdocs: the README is the first page, and links into the code become the names of its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)#\s]*)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the README as index.md."""
    from mkdocs.structure.files import File

    text = re.sub(r"\]\((?!https?:|docs/)", "](../", (ROOT / "README.md").read_text(encoding="utf-8"))
    files.append(File.generated(config, "index.md", content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace a link to a file outside docs/ by its text; one to the README by the first page."""

    def replaced(link: re.Match[str]) -> str:
        return f"[{link[1]}](index.md{link[3] or ''})" if link[2] == "README.md" else link[1]

    return OUTSIDE.sub(replaced, markdown)
