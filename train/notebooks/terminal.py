"""Commands in a notebook, as they are typed in a terminal."""

from __future__ import annotations

import subprocess
import sys

from edge.errors import OptionError


def bear_alarm(*words: object) -> None:
    """Run ``bear-alarm WORDS`` with this notebook's Python and show under the cell what it says.

    Raises OptionError when it ends with another exit code than 0: what was wrong then stands above.
    """
    command = [sys.executable, "-m", "edge", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            sys.stdout.write(line)
    if running.returncode:
        said = " ".join(str(word) for word in words)
        raise OptionError(f"`bear-alarm {said}` ended with exit code {running.returncode}; mend what it says above")
