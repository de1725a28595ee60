"""Demo: the bundled clip, the truth of what walks through it, and a line for each animal while it plays."""
