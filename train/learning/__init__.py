"""`train`: pictures to a run."""
