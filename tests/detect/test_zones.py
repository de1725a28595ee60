"""Polygons: what users type, what lies in them, and what they cover."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.detect.zones import MAX_CORNERS, Zone, area, contains, covered, drawn, parse_polygon, parse_zone, parse_zones
from edge.errors import OptionError

SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
BOW = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))
RING = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.2), (0.0, 1.0))  # a notch from below
FRACTION = st.floats(0, 1, allow_subnormal=False)
POLYGONS = st.lists(st.tuples(FRACTION, FRACTION), min_size=3, max_size=12).map(tuple)


def test_corners_are_read_in_order():
    assert parse_polygon(" 0,0  1,0 0.5,1 ", "--mask") == ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0))


@pytest.mark.parametrize(
    "words",
    [
        "0.1,0.5, 0.6,0.5, 0.6,1",
        "0.1,0.5 , 0.6,0.5 , 0.6,1",
        "0.1,0.5,0.6,0.5,0.6,1",
        "0.1, 0.5, 0.6, 0.5, 0.6, 1,",
        "0.1 0.5 0.6 0.5 0.6 1",
    ],
)
def test_commas_between_corners_are_read_as_they_are_meant(words):
    assert parse_zone(f"a={words}") == Zone("a", ((0.1, 0.5), (0.6, 0.5), (0.6, 1.0)))


@pytest.mark.parametrize("words", ["0.1,0.5,0.6 0.5,0.6,1", "0,0 1,0 0.5 1,1 0.3", "0,0,,1,0,1,1", "0,0,1,0,1"])
def test_where_it_is_in_doubt_which_numbers_belong_together_it_is_refused(words):
    with pytest.raises(OptionError, match="give three corners or more as 'x,y x,y x,y'"):
        parse_zone(words)


def test_percent_and_pixels_are_named_and_put_right():
    with pytest.raises(OptionError) as error:
        parse_zone("hives=10,50, 60,50, 62.5,100")
    better = str(error.value).partition("these look like percent; give fractions from 0 to 1: ")[2]
    assert better == "'0.1,0.5 0.6,0.5 0.625,1'"
    assert parse_zone(f"hives={better[1:-1]}").corners[2] == (0.625, 1.0)
    with pytest.raises(OptionError, match=r"these look like pixels; give fractions from 0 to 1"):
        parse_zone("hives=128,540 1152,540 1152,1080")


def test_a_zone_may_have_a_name():
    assert parse_zone("bins=0,0 1,0 0.5,1") == Zone("bins", ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)))
    assert parse_zone("0,0 1,0 0.5,1").name == "zone"
    assert parse_zone(" back_yard-2 = 0,0 1,0 0.5,1").name == "back_yard-2"


@pytest.mark.parametrize("name", ["my hives", "2nd", "Bienen/Nord", "", "a=b"])
def test_a_name_that_is_none_is_blamed_and_not_the_corners(name):
    with pytest.raises(OptionError, match="is no name for a zone") as error:
        parse_zone(f"{name}=0.1,0.5 0.6,0.5 0.6,1")
    assert repr(name) in str(error.value)


def test_zones_without_a_name_are_told_apart_and_two_of_one_name_refused():
    corners = "0,0 1,0 0.5,1"
    names = [zone.name for zone in parse_zones([corners, f"zone-2={corners}", corners, f"bins={corners}"])]
    assert names == ["zone", "zone-2", "zone-3", "bins"]
    with pytest.raises(OptionError, match="two zones are called bins"):
        parse_zones([f"bins={corners}", f" bins ={corners}"])


@pytest.mark.parametrize(
    "words",
    [
        "",
        "0,0 1,1",
        "0,0 1,0 0.5",
        "0,0 1,0 0.5,1.2",
        "0,0 1,0 -0.1,1",
        "0,0 1,0 nan,1",
        "0,0 1,0 inf,1",
        "0,0 a,b 1,1",
        "0,0 1,0 1,1,1",
        "2=0,0 1,0 0.5,1",
        "0,0 0.5,0.5 1,1",
        "0,0 1,1 1,0 0,1",
        " ".join(["0,0 1,0 0.5,1"] * MAX_CORNERS),
    ],
)
def test_what_encloses_nothing_or_is_no_polygon_is_refused_in_a_sentence(words):
    with pytest.raises(OptionError, match=r"^--mask '.*': (give three corners or more|these corners enclose nothing)"):
        parse_polygon(words, "--mask")


@given(st.text(max_size=40))
def test_whatever_is_typed_gives_a_polygon_or_a_sentence(words):
    with contextlib.suppress(OptionError):
        assert len(parse_zone(words, "--zone").corners) >= 3


def test_a_bear_is_where_its_feet_or_its_middle_are():
    zone = Zone("yard", SQUARE)
    assert zone.holds((0.4, 0.0, 0.2, 0.5))  # feet at 0.5, 0.5
    assert zone.holds((0.4, 0.3, 0.2, 0.6))  # feet below the yard, its middle in it
    assert not zone.holds((0.0, 0.0, 0.2, 0.2))
    assert not zone.holds((0.4, 0.0, 0.2, 0.2))
    assert Zone("all", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))).holds((0.8, 0.8, 0.2, 0.2))


def test_notches_and_crossed_sides_follow_the_even_odd_rule():
    assert contains(RING, (0.5, 0.1))
    assert not contains(RING, (0.5, 0.9))
    assert contains(BOW, (0.1, 0.5))
    assert contains(BOW, (0.9, 0.5))
    assert not contains(BOW, (0.5, 0.1))


@given(POLYGONS, FRACTION, FRACTION)
def test_the_direction_of_the_corners_and_where_they_begin_do_not_matter(corners, x, y):
    once = contains(corners, (x, y))
    turned = [contains(tuple(reversed(corners)), (x, y)), contains((*corners[1:], corners[0]), (x, y))]
    near = min(abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) for (x0, y0), (x1, y1) in sides(corners)) < 1e-6
    assert turned == [once, once] or near
    assert area(corners) == pytest.approx(area(tuple(reversed(corners))))


def sides(corners):
    return list(zip(corners, (*corners[1:], corners[0]), strict=True))


@given(st.lists(POLYGONS, max_size=3), st.integers(1, 50), st.integers(1, 50))
def test_drawn_pixels_are_those_whose_centre_lies_in_a_polygon(polygons, width, height):
    canvas = drawn(polygons, (width, height))
    assert canvas.shape == (height, width)
    assert canvas.dtype == bool
    for row, column in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
        centre = ((column + 0.5) / width, (row + 0.5) / height)
        assert canvas[row, column] == any(contains(corners, centre) for corners in polygons)


@pytest.mark.parametrize("corners", [SQUARE, RING, ((0.1, 0.1), (0.9, 0.3), (0.4, 0.8))])
def test_a_drawn_polygon_has_its_area(corners):
    assert np.mean(drawn([corners], (320, 180))) == pytest.approx(area(corners), abs=0.01)


def test_what_polygons_cover_of_a_box():
    assert covered([], (0.0, 0.0, 1.0, 1.0)) == 0.0
    assert covered([SQUARE], (0.0, 0.0, 1.0, 1.0)) == pytest.approx(0.25, abs=0.02)
    assert covered([SQUARE], (0.3, 0.3, 0.4, 0.4)) == 1.0
    assert covered([SQUARE], (0.0, 0.0, 0.2, 1.0)) == 0.0
    # Together, and what lies on what does not count twice.
    assert covered([SQUARE, SQUARE], (0.0, 0.0, 1.0, 1.0)) == covered([SQUARE], (0.0, 0.0, 1.0, 1.0))
    halves = [((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)), ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))]
    assert covered(halves, (0.1, 0.1, 0.8, 0.8)) == 1.0


@given(st.lists(POLYGONS, max_size=3), FRACTION, FRACTION)
def test_covered_is_a_share(polygons, x, y):
    assert 0.0 <= covered(polygons, (x / 2, y / 2, 0.5, 0.5)) <= 1.0
