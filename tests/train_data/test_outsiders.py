"""What counts as an outsider, and what a covered lens shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from train.data.catalog import read_catalog
from train.data.pictures import Picture, words_of
from train.learn.ood import in_domain, kind_of

# As trail-camera sets of North America and Europe call what they hold, and what people write of such pictures.
FIELD = """
Gray Fox, Grey Wolf, Gray Wolf, Gray Jay, Eastern Gray Squirrel, Western Gray Squirrel, Red Fox, Arctic Fox, Coyote,
Golden Jackal, Mountain Lion, mountain lions, Puma, Cougar, Bobcat, Canada Lynx, Eurasian Lynx, Wildcat, Ocelot,
White-tailed Deer, Mule Deer, Roe Deer, Red Deer, Elk, Moose, Pronghorn, Caribou, Mountain Goat, Bighorn Sheep,
Chamois, Alpine Ibex, Mouflon, Wild Boar, Feral Hog, Collared Peccary, Nine-banded Armadillo, Virginia Opossum,
Northern Raccoon, Striped Skunk, American Badger, European Badger, Pine Marten, Fisher, Wolverine, River Otter,
American Mink, Long-tailed Weasel, Snowshoe Hare, Eastern Cottontail, Marmot, North American Porcupine, Beaver,
Chipmunk, Wild Turkey, Ruffed Grouse, Ring-necked Pheasant, Common Raven, Great Horned Owl, Great Gray Owl, Grey
Heron, Sandhill Crane, Domestic Dog, stray dog, tiger cat, Domestic Cattle, Horse, Domestic Goat, Human, police
officer, Vehicle, snow groomer, mushroom, dandelion meadow, wood anemone, crab apple, coral snake, tiger swallowtail,
tiger beetle, leopard frog, kitchen garden, spray, sun rays, landscape, grapes, garden, wheel track, sea lion,
elephant seal, empty, withdrawing tide, geothermal field, hot thermal springs, puffer jacket
"""
FIELD_NAMES = [name.strip() for name in FIELD.replace("\n", " ").split(",")]


def row(note: str, label: str = "no_bear", named: str = "") -> Picture:
    """A catalogue's picture with a note."""
    return Picture(Path("x.jpg"), label, "somewhere", "", note=note, named=named)


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("wild boar, thermal camera crop 128x128", "thermal"),
        ("kangaroo", "other continents' animals"),
        ("African wildlife (lion, hyena, ...)", "other continents' animals"),
        ("ImageNet animal: lion", "other continents' animals"),
        ("ImageNet animal: great_white_shark", "under water"),
        ("ImageNet animal: lionfish", "under water"),
        ("a kitchen, indoor", "indoor"),
        ("cartoon of a fox", "drawings"),
        ("ImageNet animal: red_fox", None),
        ("wolf", None),
        ("deer", None),
        ("seal", None),
        ("raccoon", None),
        ("street from car, one frame in ten", None),
        ("COCO: bicycle, cat, person", None),
        ("", None),
    ],
)
def test_kinds_come_from_the_notes(note: str, kind: str | None) -> None:
    assert kind_of(row(note)) == kind


@pytest.mark.parametrize("style", [str, str.lower, lambda name: name.replace(" ", "_"), "no_bear; {}".format])
@pytest.mark.parametrize("name", FIELD_NAMES)
def test_what_trail_cameras_see_is_in_the_domain(name: str, style: Callable[[str], str]) -> None:
    assert kind_of(row(style(name))) is None
    assert kind_of(row("", named=style(name))) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("African Lion", "other continents' animals"),
        ("Lions", "other continents' animals"),
        ("Clouded Leopard", "other continents' animals"),
        ("Spotted_Hyena", "other continents' animals"),
        ("Plains zebras", "other continents' animals"),
        ("ring-tailed monkeys", "other continents' animals"),
        ("Manta Ray", "under water"),
        ("rays", "under water"),
        ("Gray whale", "under water"),
        ("horseshoe crab", "under water"),
        ("the ranger's office", "indoor"),
        ("Indoors", "indoor"),
        ("pencil sketches", "drawings"),
        ("clip-art", "drawings"),
        ("Thermal", "thermal"),
    ],
)
def test_whole_words_name_an_outsider(name: str, kind: str) -> None:
    assert kind_of(row(name)) == kind
    assert kind_of(row("", named=name)) == kind
    assert kind_of(row(f"{name}; event=3f9c0a12; part=crop; said=a gray fox")) == kind


def test_what_follows_the_first_words_decides_nothing() -> None:
    printed = "false alarm; event=3f9c0a12; part=crop; by=Ray Lion; said=a whale drawn in the office, thermal"
    assert words_of(printed) == "false alarm"
    assert kind_of(row(printed)) is None


@pytest.mark.parametrize("label", ["brown_bear", "bear_any", "polar_bear", "teddy_bear"])
def test_no_bear_is_ever_an_outsider(label: str) -> None:
    assert kind_of(row("thermal camera, kangaroo, drawing", label)) is None


def test_a_folder_per_label_names_the_kind_too() -> None:
    assert kind_of(row("", named="kangaroo")) == "other continents' animals"


def test_the_domain_is_the_rest() -> None:
    rows = [row("thermal"), row("deer"), row("gorilla")]
    assert in_domain(rows) == [rows[1]]


def test_the_pictures_hold_outsiders(pictures: Path) -> None:
    kinds = [kind_of(each) for each in read_catalog(pictures).pictures]
    assert kinds.count("thermal") >= 50
    assert kinds.count("other continents' animals") >= 300
