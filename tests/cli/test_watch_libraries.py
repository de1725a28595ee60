"""What the start has used of libraries: given back, and there again when it is used."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.cli.watch import libraries
from edge.detect.classifier import BUNDLED, Classifier

RUNTIME = "onnxruntime_pybind11_state"  # the largest


def resident(name):
    """Kilobytes in memory of a library's mappings, those that nothing has changed and the others."""
    sizes = {True: 0, False: 0}
    for mapping in re.split(r"^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text(), flags=re.M):
        if name in mapping.partition("\n")[0]:
            of = {line.split()[0]: int(line.split()[1]) for line in mapping.splitlines() if line.endswith(" kB")}
            sizes[of["Anonymous:"] == 0] += of["Rss:"]
    return sizes[True], sizes[False]


@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="of 64-bit Linux")
def test_code_leaves_memory_what_the_linker_wrote_stays_and_the_answers_too():
    classifier = Classifier(BUNDLED)
    crops = np.random.default_rng(0).integers(0, 256, (2, classifier.size, classifier.size, 3), np.uint8)
    expected = classifier(crops)
    code, written = resident(RUNTIME)
    libraries.unmap_libraries()
    code_after, written_after = resident(RUNTIME)
    assert code_after < code / 4
    assert written_after == written > 0
    for one, other in zip(classifier(crops), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("entries", "changed"),
    [
        ([(5, 64), (libraries.DT_NULL, 0), (libraries.DT_TEXTREL, 0)], False),
        ([(libraries.DT_FLAGS, 8), (libraries.DT_NULL, 0)], False),
        ([(5, 64), (libraries.DT_TEXTREL, 0), (libraries.DT_NULL, 0)], True),
        ([(libraries.DT_FLAGS, 8 | libraries.DF_TEXTREL), (libraries.DT_NULL, 0)], True),
    ],
)
def test_a_library_with_relocations_in_its_code_is_known_by_its_dynamic_section(entries, changed):
    words = [word for entry in entries for word in entry]
    section = (ctypes.c_uint64 * len(words))(*words)
    segment = libraries._Segment(
        type=libraries.PT_DYNAMIC, address=ctypes.addressof(section) - 4096, size=ctypes.sizeof(section)
    )
    assert libraries._code_changed(4096, segment) is changed
