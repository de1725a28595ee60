"""A trial: a new model looks at the same frames as the one in use, and its alarms are counted, not published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """What two models did on the same frames of all cameras, since the trial of the new one began."""

    frames: int = 0  # with something to see: what moved, or an alarm
    hours: float = 0.0  # watched meanwhile, of the monotonic clock
    both: int = 0  # alarms that both would have raised
    only_old: int = 0
    only_new: int = 0
    kept: bool = False  # on kept pictures, one model after the other; ``hours`` is 0 then

    @property
    def different(self) -> int:
        """Return how many alarms were raised by one of them alone."""
        return self.only_old + self.only_new

    @property
    def words(self) -> str:
        """Return it as a clause for people."""
        where = "on kept pictures" if self.kept else f"in {self.hours:.0f} h"
        seen = f"{self.frames} frame{'' if self.frames == 1 else 's'} with something to see"
        if not self.different:
            return f"{where} ({seen}) it would have alarmed as the old one did, {self.both} times"
        return (
            f"{where} ({seen}) it would have alarmed {self.only_new} times more, and {self.only_old} times less, "
            f"than the old one; {self.both} alarms are the same"
        )
