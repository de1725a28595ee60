"""Where in a picture a bear may be."""
