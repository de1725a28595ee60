"""One self-contained page on a model: what it finds, what it takes for a bear, how sure it is, where it fails."""
