"""Read back the note that a crop or a negative carries."""

import json


def note_of(path):
    """Return what ``edge.record.clip.jpeg`` wrote in the comment of a JPEG."""
    data = path.read_bytes()
    assert data[2:4] == b"\xff\xfe"
    return json.loads(data[6 : 4 + int.from_bytes(data[4:6], "big")])
