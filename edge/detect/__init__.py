"""Detection: regions of a picture that may hold a bear."""
