"""Notebooks for learners: clean labels by hand, try a model, go the whole way from pictures to an alarm."""
