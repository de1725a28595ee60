"""Two reviewers at once: one waits for the other, and what either decided stays."""

from __future__ import annotations

from pathlib import Path

import pytest

AT = "2026-11-24T08:12:07.000Z"


@pytest.fixture(params=["event", "negative"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An event's folder, and a random negative."""
    if request.param == "event":
        (tmp_path / "031207-yard-1f0c9a3b").mkdir()
        (tmp_path / "031207-yard-1f0c9a3b" / "event.json").write_text("{}")
        return tmp_path / "031207-yard-1f0c9a3b"
    sample = tmp_path / "negatives" / "2026-11-24" / "101500-yard-77aa.jpg"
    sample.parent.mkdir(parents=True)
    sample.write_bytes(b"x")
    return sample
