"""Who keeps the pictures of alarms: made from settings, or done without where a disk allows none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import OptionError
from edge.files import make_folder

if TYPE_CHECKING:
    from edge.record.evidence import EvidenceWriter
    from edge.schema import Event
    from edge.settings import EvidenceSettings

log = logging.getLogger(__name__)

DEFAULT = Path("evidence")  # in the working folder, which under a service is the state folder


def evidence_writer(
    settings: EvidenceSettings,
    *,
    default: Path = DEFAULT,
    written: Callable[[Event, Path], object] | None = None,
) -> EvidenceWriter | None:
    """The writer. A disk that takes nothing now is tried again; where no folder can be, one asked for is an error.

    A default folder that cannot be, or may not be made here, is gone without; so is all of it where none is kept.
    """
    if not settings.keep:
        return None
    from edge.record.evidence import NEGATIVES_PER_DAY, POST_S, PRE_S, QUOTA_MB, RESERVE_MB, EvidenceWriter

    place = (settings.folder or default).expanduser().absolute()  # events name it, and are read from elsewhere
    try:
        if settings.folder is None and not _may_be_made(place):
            raise OptionError(f"{place}: cannot keep evidence there (Permission denied)")
        return EvidenceWriter(
            place,
            quota_mb=QUOTA_MB if settings.quota_mb is None else settings.quota_mb,
            reserve_mb=RESERVE_MB if settings.reserve_mb is None else settings.reserve_mb,
            negatives_per_day=NEGATIVES_PER_DAY if settings.negatives_per_day is None else settings.negatives_per_day,
            full=settings.full,
            pre_s=PRE_S if settings.pre_capture_s is None else settings.pre_capture_s,
            post_s=POST_S if settings.post_capture_s is None else settings.post_capture_s,
            written=written,
        )
    except OptionError as error:
        if settings.folder:
            raise
        log.warning("%s; going on without pictures", error)
        return None


def _may_be_made(place: Path) -> bool:
    """Whether this user may have a folder there; whatever else the disk says, it may be well again tomorrow."""
    try:
        make_folder(place)
    except OSError as error:
        return not isinstance(error, PermissionError)
    return True
