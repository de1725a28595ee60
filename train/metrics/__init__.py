"""The figures that training, export and ``evaluate`` share, each with its 95 % interval. Needs no torch."""
