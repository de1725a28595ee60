"""Whether a command line may do nothing when a bear comes: its first word is no program."""

from __future__ import annotations

import os
import shlex
import shutil

# Builtins and reserved words of POSIX shells, and signs that make a word more than a name.
_WORDS = """
! . : [ [[ { alias bg break builtin case cd command continue echo eval exec exit export false fg for function getopts
hash if jobs kill local printf pwd read readonly return select set shift source test time times trap true type ulimit
umask unalias unset until wait while
"""
SHELL_WORDS = frozenset(_WORDS.split())
SHELL_SIGNS = frozenset("$`=;&|<>(){}*?[]#\n")


def command_in_doubt(line: str, option: str = "--on-alarm") -> str | None:
    """One sentence when the first word of an option's command line is nothing the shell could run; None when it may be.

    Only plain words are judged: no assignments, expansions or other constructs of the shell, and not on Windows.
    """
    if os.name != "posix":
        return None
    try:
        first = shlex.split(line)[0]
    except (ValueError, IndexError):
        return None
    if first in SHELL_WORDS or SHELL_SIGNS & set(first) or shutil.which(os.path.expanduser(first)):  # noqa: PTH111
        return None
    return (
        f"{option}: `{first}` is no program on the PATH and no executable file, so it may do nothing when needed; "
        "check its name, and that it may be executed"
    )
