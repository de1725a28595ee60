"""Data: the table of pictures, how it grows, and how it is split."""
