"""Bringing pictures in: each source is an iterable of ``Found``; what is fetched is checked, kept and written down.

    source ─▶ Found ─▶ Downloader ─▶ check ─▶ duplicates ─▶ file and row

Nothing is fetched unless a person runs the command that says what it will ask, of whom, and how much at most.
"""
