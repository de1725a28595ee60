"""The comparison with what people would use instead runs, with no peer's network at hand."""

import sys

import pytest

from benchmarks import compare

pytestmark = pytest.mark.slow


def test_our_frames_stand_beside_the_peers(tmp_path, monkeypatch, capsys):
    plot = tmp_path / "plot.svg"
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path), "--seconds", "6", "--plot", str(plot)])
    compare.main()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    ratios = {row[0]: float(row[2]) for row in rows if len(row) == 4 and row[2].replace(".", "").isdigit()}
    assert ratios.pop(compare.CROP) == 1.0
    assert ratios.pop(compare.IDLE) < 1.0
    assert "fastai `learn.predict`, resnet18 at 224" in ratios
    assert "fastai" in plot.read_text()


def test_a_time_in_which_nothing_moved_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "contenders", lambda folder: ([compare.Contender("a peer", lambda image: None)], []))
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path), "--seconds", "0.05"])
    with pytest.raises(SystemExit, match=r"--seconds 0\.05 is too short"):
        compare.main()
