"""``bear-alarm watch``: the command, its run, and the words that it prints."""
