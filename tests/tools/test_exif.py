"""Exif: which camera, and when by its own clock, from the bytes of a JPEG alone."""

from __future__ import annotations

import io
from datetime import datetime

import pytest

from edge.pictures import Exif, read_exif
from tests.helpers.uploads import dated, jpeg, taken_by


@pytest.mark.parametrize("order", ["<", ">"])
def test_make_model_serial_and_time_are_read(order):
    data = taken_by(jpeg(), "Reconyx", "HyperFire 2", "H2X1234", "2024:05:01 22:15:30", order=order)
    found = read_exif(data)
    assert found == Exif(datetime(2024, 5, 1, 22, 15, 30), "", "Reconyx", "HyperFire 2", "H2X1234")
    assert found.camera == "Reconyx HyperFire 2 H2X1234"


def test_a_text_of_four_bytes_lies_in_the_entry_itself():
    assert read_exif(taken_by(jpeg(), "HCO", "X1", "7")).camera == "HCO X1 7"


@pytest.mark.parametrize(
    ("make", "model", "serial", "camera"),
    [
        ("Canon", "Canon EOS R5", "", "Canon EOS R5"),
        ("BUSHNELL", "", "", "BUSHNELL"),
        ("", "", "12345", "12345"),
        ("", "", "", ""),
    ],
)
def test_a_camera_is_called_by_what_there_is(make, model, serial, camera):
    assert read_exif(taken_by(jpeg(), make, model, serial)).camera == camera


def test_what_could_steer_a_terminal_is_left_out():
    assert read_exif(taken_by(jpeg(), "Re\x1b[2Jco\nnyx ", "A  B", "")).camera == "Re [2Jco nyx A B"


def test_a_picture_without_exif_and_a_clock_never_set_give_nothing():
    assert read_exif(jpeg()) == read_exif(b"") == Exif()
    assert read_exif(dated(jpeg(), "0000:00:00 00:00:00")).taken is None


def test_another_writer_is_understood():
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x010F], exif[0x0110] = "BROWNING", "BTC-8A"
    exif.get_ifd(0x8769).update({0x9003: "2023:10:29 02:30:00", 0xA431: "XYZ-7"})
    data = io.BytesIO()
    image.new("RGB", (32, 24)).save(data, "JPEG", exif=exif)
    found = read_exif(data.getvalue())
    assert (found.camera, found.taken) == ("BROWNING BTC-8A XYZ-7", datetime(2023, 10, 29, 2, 30))
