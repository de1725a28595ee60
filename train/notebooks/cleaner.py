"""fastai's ImageClassifierCleaner over a run, whose choices outlive a change of category and become decisions.

fastai's own forgets what was chosen when another category is shown, and the book then unlinks and moves files. Here
every choice is kept, and ``write`` makes rows of DECISIONS.csv of them (``train.data.decisions``): nothing is moved
or deleted, and everything can be taken back.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
from fastai.vision.widgets import ImageClassifierCleaner, ImagesCleaner
from fastcore.foundation import L
from ipywidgets import Dropdown, Image, Label, VBox

from edge.detect.crops import square
from edge.errors import OptionError, PictureError
from edge.pictures import decode_picture, picture_bytes
from edge.schema import WHOLE
from train.data.decisions import (  # fmt: skip
    COLUMNS,
    DELETE,
    KEEP,
    KINDS,
    RELABEL,
    TABLE,
    UNDO,
    Decision,
    append_decisions,
    as_row,
    decide,
    live,
    match,
    read_decisions,
    take_back,
)
from train.data.pictures import Picture
from train.data.split import read_split
from train.learn.dataloaders import BOX_CONTEXT
from train.learn.run import read_run
from train.learn.run_folder import find_place
from train.notebooks.ranking import ranking_learner, view_of

# fastai's gallery of pictures with a menu under each, which remembers what was chosen.


KEEP_IT, DELETE_IT = "<Keep>", "<Delete>"  # as fastai calls them


class Gallery(ImagesCleaner):
    """Thumbnails, a menu under each, and words under that. ``choices`` holds what was chosen, by file.

    ``seen`` holds the SHA-256 of the bytes that were shown, by file: a decision is about those.
    """

    def __init__(
        self,
        labels: Sequence[str],
        picture_of: Callable[[Path], Picture],
        words_of: Callable[[Path], str],
        heard: Callable[[], None],
        *,
        height: int = 128,
        width: int = 256,
        max_n: int = 30,
    ) -> None:
        super().__init__(tuple(labels), height=height, width=width, max_n=max_n)
        self.choices: dict[Path, str] = {}
        self.seen: dict[Path, str] = {}
        self._picture_of, self._words_of, self._heard = picture_of, words_of, heard

    def set_fns(self, fns: Sequence[Path]) -> None:
        """Show the first ``max_n`` of these files, each with what was chosen for it before."""
        self.fns = L(fns)[: self.max_n]
        self.widget.children = [self._card(file) for file in self.fns]

    def _card(self, file: Path) -> VBox:
        menu = Dropdown(options=self.opts, value=self.choices.get(file, KEEP_IT), layout={"width": "max-content"})
        words = self._words_of(file)
        try:
            shown = Image(value=self._thumbnail(file), format="jpeg")
        except PictureError as error:
            shown, words, menu.disabled = Label("no picture"), str(error), True
        shown.layout.height, shown.layout.object_fit = f"{self.height}px", "contain"
        shown.layout.max_width = f"{self.width}px"

        def choose(change: Any) -> None:
            self.choices[file] = change.new
            self._heard()

        menu.observe(choose, names="value")
        return VBox([shown, menu, Label(words)])

    def _thumbnail(self, file: Path) -> bytes:
        """What the network looks at of a picture, as a JPEG ``height`` pixels high. Raises PictureError."""
        data = picture_bytes(file)
        image = decode_picture(data, file)
        box = view_of(self._picture_of(file))
        if box != WHOLE:
            x, y, w, h = square(box, (image.shape[1], image.shape[0]), BOX_CONTEXT)
            image = image[y : y + h, x : x + w]
        scale = min(2 * self.height / image.shape[0], 2 * self.width / image.shape[1])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self.seen[file] = hashlib.sha256(data).hexdigest()
        return cv2.imencode(".jpg", shrunk)[1].tobytes()


class Cleaner(ImageClassifierCleaner):
    """The pictures of a run's training and tuning part by label, the ones its network doubts most first.

    ``run`` is a folder that `bear-alarm train` wrote, ``data`` where its pictures lie now, if they moved. Raises
    CatalogError when either is not there, or pictures came that the run does not know.
    """

    def __init__(
        self, run: Path | str, data: Path | str | None = None, *, height: int = 128, width: int = 256, max_n: int = 30
    ) -> None:
        self.place = find_place(Path(run), None if data is None else Path(data))
        split = read_split(self.place.catalog, self.place.run / "split.csv")
        pictures = [*split["train"], *split["tune"]]
        self._pictures = {picture.file: picture for picture in pictures}
        known, _ = match(pictures, self.root, live(read_decisions(self.root)))
        self._earlier = {picture.file: decision for picture, decision in known.items()}
        self._mine: dict[Path, Decision] = {}  # what this cleaner wrote and has not taken back
        self._gallery: Gallery | None = None
        learner = ranking_learner(read_run(self.place.run), split["train"], split["tune"])
        super().__init__(learner, height=height, width=width, max_n=max_n)
        self._losses = {file: float(loss) for part in self.iwis for file, _, loss in part}
        self._gallery = Gallery(
            learner.dls.vocab, self._pictures.__getitem__, self._words, self._count,
            height=height, width=width, max_n=max_n,
        )  # fmt: skip
        self.default = self.iw = self._gallery
        self.told = Label()
        self.widget = VBox([self.dd_cats, self.dd_ds, self._gallery.widget, self.told])
        self.on_change_ds()

    @property
    def root(self) -> Path:
        """The folder of the pictures, where the decisions are kept."""
        return self.place.root

    @property
    def pending(self) -> list[Path]:
        """Files whose choice is not in the table yet, in the order they were first touched."""
        chosen = self._gallery.choices if self._gallery else {}
        return [file for file, choice in chosen.items() if choice != _choice_of(self._mine.get(file))]

    def on_change_ds(self, change: Any = None) -> None:
        """Show another category or part; what was chosen stays chosen."""
        if self._gallery is not None:  # fastai's own gallery, which it makes first, shows nothing
            super().on_change_ds(change)
            self._count()

    def write(self) -> str:
        """Make decisions of the choices that are not written yet; says what was done.

        A choice put back to keep takes its decision back. Pictures that are gone, or whose file was replaced since it
        was shown, are passed over. Raises OptionError when the table cannot be written: then every choice still waits.
        """
        rows: list[Decision] = []
        after: dict[Path, Decision | None] = {}
        passed: list[str] = []
        held = {row.key: row for row in live(read_decisions(self.root))}
        for file in self.pending:
            try:
                decision = self._decision(file)
            except OSError:
                passed.append(file.name)
                continue
            if decision and decision.sha256 != self._shown.seen.get(file):
                passed.append(file.name)
                continue
            after[file] = decision
            rows += self._taken_back(file, held)
            rows += [decision] if decision else []
        append_decisions(self.root, rows)
        for file, decision in after.items():
            self._mine.pop(file, None)
            if decision:
                self._mine[file] = decision
        self._count()
        return _said(rows, passed) + self._held()

    def decisions(self) -> pd.DataFrame:
        """The decisions that hold, oldest first; who made them does not matter."""
        rows = [as_row(row) for row in live(read_decisions(self.root))]
        return pd.DataFrame(rows, columns=list(COLUMNS)).drop(columns=["sha256", "bytes"])

    def undo(self, what: str = "last") -> str:
        """Take back the ``last`` decision, the one about a file (as the list names it), or ``all``; says which.

        Raises OptionError when there is none.
        """
        held = live(read_decisions(self.root))
        about = held if what == "all" else held[-1:] if what == "last" else [row for row in held if row.file == what]
        if not about:
            raise OptionError(f"{self.root / TABLE}: there is no decision to take back ({what}); see the list")
        append_decisions(self.root, [take_back(row, by=self.place.name) for row in about])
        keys = {row.key for row in about}
        for file in [file for file, row in self._mine.items() if row.key in keys]:
            del self._mine[file]
            self._shown.choices.pop(file, None)
        self.on_change_ds()
        named = ", ".join(f"{row.file} ({row.decision})" for row in about[:5]) + (" …" if len(about) > 5 else "")
        return f"Taken back: {named}. {self._held()}"

    @property
    def _shown(self) -> Gallery:
        assert self._gallery is not None
        return self._gallery

    def _decision(self, file: Path) -> Decision | None:
        """What the choice for a file means, as a decision taken now; None for none. Raises OSError."""
        choice, picture, earlier = self._shown.choices[file], self._pictures[file], self._earlier.get(file)
        label = earlier.before if earlier else picture.label  # as the table has it
        if choice == KEEP_IT:
            return None
        kind = DELETE if choice == DELETE_IT else KEEP if choice == label and not earlier else RELABEL
        return decide(picture, self.root, kind, choice, by=self.place.name, before=label)

    def _taken_back(self, file: Path, held: dict[tuple[str, str], Decision]) -> Iterator[Decision]:
        """The row that takes back what this cleaner decided before, where that still holds."""
        mine = self._mine.get(file)
        if mine and (row := held.get(mine.key)) and row.time == mine.time:
            yield take_back(mine, by=self.place.name)

    def _words(self, file: Path) -> str:
        picture: Picture = self._pictures[file]
        return f"{file.name}: {picture.label} {100 * math.exp(-self._losses[file]):.0f} %"

    def _count(self) -> None:
        waiting = len(self.pending)
        nothing = "" if len(self._shown.fns) else "No picture of this label in this part. "
        unwritten = f"{waiting} choice{'s' if waiting > 1 else ''} not written yet." if waiting else ""
        self.told.value = nothing + unwritten

    def _held(self) -> str:
        return f"{len(live(read_decisions(self.root)))} decisions hold in {self.root / TABLE}."


def _choice_of(decision: Decision | None) -> str:
    """The menu's entry that a decision of this cleaner came from."""
    if decision is None:
        return KEEP_IT
    return DELETE_IT if decision.decision == DELETE else decision.after


def _said(rows: list[Decision], passed: list[str]) -> str:
    kinds = Counter(row.decision for row in rows)
    counts = [f"{kinds[kind]} {'taken back' if kind == UNDO else kind}" for kind in KINDS if kinds[kind]]
    over = f" Passed over, gone or changed since they were shown: {', '.join(passed)}." if passed else ""
    return f"Written: {', '.join(counts) or 'nothing new'}.{over} "
