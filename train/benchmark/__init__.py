"""Far bears and far animals, made the same way from held-out pictures (A), and the real ones of trail cameras (B)."""
