"""Gather: bring pictures in from folders, cards and public collections."""
