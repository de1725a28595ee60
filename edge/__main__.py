"""``python -m edge`` is ``bear-alarm``."""

from edge.commands.main import main

main()
