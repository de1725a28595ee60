"""``bear-alarm bench``: measure what the alarm costs on this machine."""
