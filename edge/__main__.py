"""``python -m edge`` is ``bear-alarm``."""

from edge.cli.main import main

main()
