"""``prove_trail_cameras.py``: which frames it takes, and what it counts as what."""

from __future__ import annotations

from pathlib import Path

from tests.prove_trail_cameras import FAR_CAMERA, Seen, figures, trail_pictures
from train.catalog.picture import Picture


def seen(label: str, source: str, px: int, *, alarm: bool, grey: bool = False) -> Seen:
    picture = Picture(Path(f"{label}{source}{px}{grey}.jpg"), label, source, f"{px}", grey_or_ir=grey)
    return Seen(picture, px, 0.9 if alarm else 0.1, alarm)


def test_bears_and_others_are_counted_by_light_and_size_and_the_far_camera_apart() -> None:
    rows = [
        seen("black_bear", "cards", 60, alarm=True),
        seen("bear_any", "cards", 100, alarm=False, grey=True),
        seen("no_bear", "cards", 0, alarm=True, grey=True),
        seen("no_bear", "cards", 1, alarm=False),
        seen("bear_any", FAR_CAMERA, 20, alarm=False),
    ]
    found = {words: (rate.k, rate.n) for words, rate in figures(rows).items()}
    assert found == {
        "bears found": (1, 2),
        "bears found in colour": (1, 1),
        "bears found in grey or infrared": (0, 1),
        "bears found, 45 to 89 px": (1, 1),
        "bears found, 90 to 179 px": (0, 1),
        "no bear, taken for one": (1, 2),
        "no bear, taken for one in colour": (0, 1),
        "no bear, taken for one in grey or infrared": (1, 1),
        "railway camera: bears found, 0 to 26 px": (0, 1),
    }


def test_only_frames_of_trail_and_surveillance_cameras_are_taken(tmp_path: Path) -> None:
    rows = [
        ("a", "cards", "camera trap", ""),
        ("b", "cards", "surveillance", ""),
        ("c", "web", "web", "full frame"),
        ("d", FAR_CAMERA, "", "full frame of the camera"),
        ("e", FAR_CAMERA, "", "bear window cut from the frame"),
    ]
    lines = ["file,label,source_repo,condition,note"]
    for name, *rest in rows:
        (tmp_path / f"{name}.jpg").touch()
        lines.append(f"{name}.jpg,no_bear,{','.join(rest)}")
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    assert [one.file.stem for one in trail_pictures(tmp_path)] == ["a", "b", "d"]
