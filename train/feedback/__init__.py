"""What people said of the alarm's own pictures, turned into rows of the table of pictures. Needs no torch.

evidence, a card, a zip ─▶ shelf ─▶ case, its review ─▶ verdict ─▶ looks ─▶ bring: rows grouped by camera and day
"""
