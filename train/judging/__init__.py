"""`evaluate` and `compare`: a model's figures on pictures it was not made from. Needs no torch."""
