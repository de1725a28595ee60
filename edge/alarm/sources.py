"""From a camera's settings to its frames: a live one is kept open for ever, one that is missing may be waited for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.schema import Trouble
    from edge.settings import Camera
    from edge.watch import Watcher


def open_kept(camera: Camera, *, state: Path | None = None, waits: bool = False) -> Source:
    """A camera's source; a live one is opened anew for ever. Raises SourceError, OptionError.

    ``state``: the folder in which a folder that is followed is remembered, so that the next run goes on there.
    ``waits``: a live one that cannot be opened now, or whose stream ends, is a camera that is down; else it must open
    once.
    """
    from edge.camera import is_live, open_source, shown
    from edge.camera.dual_stream import PairedSource
    from edge.camera.folder import FollowSource, seen_file
    from edge.camera.reconnect import KeptSource

    name, word, fps = camera.name, camera.source, camera.settings.fps
    if camera.follow:
        if camera.motion_source:
            raise OptionError(
                f"{name}: --motion-from belongs to a camera's stream, and --follow to a folder; give one of them"
            )
        if not waits and not Path(word).expanduser().is_dir():
            raise OptionError(f"--follow: {shown(word)} is no folder; it takes a folder in which pictures arrive")
        remember = seen_file(state, Path(word)) if state else None
        return FollowSource(word, name=name, remember=remember, report=_nobody if waits else None)

    def kept(one: str) -> Source:
        def again() -> Source:
            return open_source(one, fps=fps, name=name)

        if waits and is_live(one):
            return KeptSource(None, again, name=name, fps=fps, endless=True)
        first = again()
        return KeptSource(first, again, name=name, fps=fps) if first.live else first

    main = kept(word)
    if camera.motion_source is None:
        return main
    if not main.live:
        main.close()
        raise OptionError(f"--motion-from: {word} is no live stream; only a camera has a smaller stream beside it")
    try:
        sub = kept(camera.motion_source)
    except BaseException:
        main.close()
        raise
    return PairedSource(main, sub, name=name)


def connect(source: Source, watcher: Watcher) -> None:
    """A kept source's troubles go to its watcher; of two streams each has its own."""
    from edge.camera.dual_stream import PairedSource
    from edge.camera.folder import FollowSource
    from edge.camera.reconnect import KeptSource

    def report(trouble: Trouble | None, at: float) -> None:
        watcher.report(trouble, at, source.name)

    def report_main(trouble: Trouble | None, at: float) -> None:
        watcher.report(trouble, at, source.name, "main")

    if isinstance(source, PairedSource):
        source.report = report_main
    heard = source.sub if isinstance(source, PairedSource) else source
    if isinstance(heard, KeptSource | FollowSource):
        heard.report = report


def alive_at(source: Source) -> float | None:
    """When the source's own loop last went on, time.monotonic(); None for one that says nothing of it.

    It goes on while a camera is down and opened anew, and stands still where a thread hangs.
    """
    from edge.camera.dual_stream import PairedSource
    from edge.camera.folder import FollowSource
    from edge.camera.reconnect import KeptSource

    heard = source.sub if isinstance(source, PairedSource) else source
    return heard.alive_at if isinstance(heard, KeptSource | FollowSource) else None


def reopened(source: Source) -> int:
    """How often a live camera was opened anew; of two streams both."""
    from edge.camera.dual_stream import PairedSource
    from edge.camera.reconnect import KeptSource

    if isinstance(source, PairedSource):
        return reopened(source.main) + reopened(source.sub)
    return source.reopened if isinstance(source, KeptSource) else 0


def _nobody(trouble: Trouble | None, at: float) -> None:
    """Until its watcher listens, nobody does."""
