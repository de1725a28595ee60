"""The table of pictures: read, split, licensed, decided. Needs no torch."""
