"""Learn: from a table of pictures to a trained run."""
