"""Looking at several files at once: in order, not too far ahead, and with the very same results."""

from __future__ import annotations

import threading
from functools import partial

import cv2
import numpy as np

from edge.background import MAX_AHEAD, in_order
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.stills import find_in
from tests.helpers.card import card


def test_several_files_are_looked_at_at_once_and_come_in_order():
    both = threading.Barrier(2)

    def work(number):
        both.wait(30)  # one thread alone would wait here for ever
        return number * number

    assert list(in_order(work, range(20), 2)) == [number * number for number in range(20)]


def test_only_so_many_files_are_taken_ahead():
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    found = in_order(lambda number: number, numbers(), 3)
    for expected in range(500):
        assert next(found) == expected
        assert len(taken) <= expected + 1 + 3 * MAX_AHEAD
    found.close()
    assert len(taken) < 500 + 4 * MAX_AHEAD


def test_several_threads_find_bit_for_bit_what_one_does(tmp_path):
    random = np.random.default_rng(7)
    folder = card(tmp_path / "card", {})
    for number in range(4):
        small = random.integers(0, 255, (6, 9, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(small, (180, 120), interpolation=cv2.INTER_CUBIC))
    work = partial(find_in, Classifier(BUNDLED), fps=1.0, stop=threading.Event())
    files = sorted(folder.iterdir())
    alone, together = list(map(work, files)), list(in_order(work, files, 3))
    assert [(one.file, one.seen) for one in together] == [(one.file, one.seen) for one in alone]
    assert len({one.seen.bear for one in alone if one.seen}) == 4
