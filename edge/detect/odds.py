"""Convert probabilities to log odds and back."""

from __future__ import annotations

import math

EPSILON = 1e-6  # probabilities are kept this far from 0 and 1, where the logit ends


def sigmoid(logits: float) -> float:
    """Return the probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-logits))


def logit(p: float) -> float:
    """log(p / (1 - p)), p kept away from 0 and 1."""
    p = min(max(p, EPSILON), 1.0 - EPSILON)
    return math.log(p / (1.0 - p))
