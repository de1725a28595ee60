"""The doctor: looks over this device, and says what is fine, in doubt or broken, and what to do.

``edge.doctor.rounds.examine(patient)`` yields a ``Finding`` after another. Nothing may crash it: what could, such as a
wheel made for another processor or a camera's driver, runs in a child process, and a check that raises or hangs is a
finding of its own. Importing this package imports no numpy, which may be what is broken.
"""

from edge.doctor.finding import Finding, State, broken, doubt, fine, unknown, verdict

__all__ = ["Finding", "State", "broken", "doubt", "fine", "unknown", "verdict"]
