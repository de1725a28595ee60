"""Gather: import pictures from folders, cards and public collections."""
