"""Evaluate: measure a model on pictures and clips it was not made from."""
