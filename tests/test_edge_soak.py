"""The frames of an hour through the whole alarm, as fast as it goes; `python tests/prove_soak.py` does a week."""

from __future__ import annotations

import sys

import pytest

from tests.prove_soak import MOST_GROWTH_MB, soak


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_frames_of_an_hour_with_bears_leaves_nothing_behind(tmp_path):
    first, *_, last = soak(tmp_path, 4800, 1600, 2, bear_every_s=240.0)
    assert last.rss_mb - first.rss_mb <= MOST_GROWTH_MB, (first, last)
    assert last.handles <= first.handles, (first, last)
    assert last.threads <= first.threads, (first, last)
