"""Zones and masks drawn on the live picture: with a mouse, a finger, the keyboard, and as a plain form."""

import re
from contextlib import contextmanager
from html import unescape

import cv2
import numpy as np
import pytest

from edge.config.edit import text_of, version_of
from edge.config.load import load
from edge.page.guard import COOKIE
from tests.helpers.page_device import page_device
from tests.helpers.page_world import OWNER, wait_for
from tests.helpers.phone_web import chromium

pytestmark = pytest.mark.alone
HIVES = "0.25,0.5 0.75,0.5 0.75,1 0.25,1"


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with page_device(tmp_path_factory.mktemp("zones")) as device:
        yield device


@pytest.fixture
def config(device):
    device.config.write_text(device.text)
    return device.config


@pytest.fixture
def client(device):
    with device.client() as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@contextmanager
def opened(browser, device, *, width=1000, touch=False):
    """The page in a browser; nothing may go wrong in it."""
    context = browser.new_context(viewport={"width": width, "height": 800}, has_touch=touch)
    cookie = device.accounts.log_in(OWNER, "test")
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": device.address}])
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
    page.goto(f"{device.address}/zones/yard")
    # A function, no expression: the page forbids eval, which each look after the first would need.
    page.wait_for_function("() => document.querySelector('.stage img[width]')?.naturalWidth > 0")
    yield page
    assert not faults
    context.close()


def _is_fault(message):
    """While an alarm takes the place of another there is no picture for a moment."""
    return message.type == "error" and "404" not in message.text


def at(page, x, y):
    """The place on the screen of a place in the picture."""
    box = page.locator(".stage").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page, start, end):
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    page.mouse.move(*at(page, *end))
    page.mouse.up()


def save(page):
    page.get_by_role("button", name="Save and use").click()
    page.locator(".notice").wait_for()


def areas_in(config):
    """Zones and masks of the config, rounded to percent."""
    settings = load(config).settings.cameras[0].settings
    rounded = [[(round(x, 2), round(y, 2)) for x, y in each] for each in (*settings.masks,)]
    return {each.name: [(round(x, 2), round(y, 2)) for x, y in each.corners] for each in settings.zones}, rounded


def words_of(response):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


@pytest.mark.needs_tool("chromium")
def test_a_zone_drawn_with_the_mouse_is_in_the_config_and_the_running_alarm_uses_it(browser, device, config):
    with opened(browser, device) as page:
        page.get_by_role("button", name="New zone").click()
        drag(page, (0.2, 0.4), (0.6, 0.8))
        page.get_by_role("textbox", name="Zone").fill("hives")
        drag(page, (0.6, 0.8), (0.7, 1.0))  # its corner
        assert (
            "4 corners; 20 % to 70 % from the left, 40 % to 100 % from the top" in page.locator("#areas").inner_text()
        )
        save(page)
        page.locator('.notice[data-state="used"]').wait_for()
    text = config.read_text()
    zones, masks = areas_in(config)
    assert zones == {"hives": [(0.2, 0.4), (0.6, 0.4), (0.7, 1.0), (0.2, 0.8)]}
    assert masks == [[(0, 0), (0.1, 0), (0.1, 0.1)]]
    assert [line for line in device.text.splitlines() if line not in text.splitlines()] == ["    #zones:"]
    device.yard.bear = True
    found = wait_for(lambda: [each for each in device.events() if each["kind"] == "bear"], 60)
    device.yard.bear = False
    assert found[0]["zones"] == ["hives"]


@pytest.mark.needs_tool("chromium")
def test_a_mask_tapped_with_a_finger_on_a_phone(browser, device, config):
    with opened(browser, device, width=320, touch=True) as page:
        page.get_by_role("button", name="New mask").tap()
        for number, corner in enumerate(((0.1, 0.1), (0.9, 0.1), (0.9, 0.5), (0.3, 0.6))):
            page.touchscreen.tap(*at(page, *corner))
            if number == 0:
                page.get_by_text("tap two more corners").wait_for()
        page.get_by_role("button", name="Done").tap()
        session = page.context.new_cdp_session(page)
        for kind, place in (("touchStart", (0.3, 0.6)), ("touchMove", (0.2, 0.7)), ("touchMove", (0.1, 0.9))):
            x, y = at(page, *place)
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        sizes = page.locator(".corner").evaluate_all("all => all.map(e => e.getBoundingClientRect().width)")
        assert min(sizes) >= 44
        save(page)
    assert areas_in(config)[1][1] == [(0.1, 0.1), (0.9, 0.1), (0.9, 0.5), (0.1, 0.9)]
    assert "# the flag" in config.read_text()


@pytest.mark.needs_tool("chromium")
def test_the_keyboard_alone_is_enough(browser, device, config):
    with opened(browser, device) as page:
        page.get_by_role("button", name="New zone").press("Enter")
        for _ in range(4):
            page.get_by_role("button", name="Add a corner").press("Enter")
        assert page.evaluate("document.activeElement.ariaLabel") == (
            "Corner 4 of zone: 50 % from the left, 50 % from the top"
        )
        page.keyboard.press("Delete")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowUp")
        page.get_by_role("button", name="Change its corners").last.press("Enter")
        assert page.evaluate("document.activeElement.ariaLabel").startswith("Corner 1 of zone")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowUp")
        save(page)
    assert areas_in(config)[0] == {"zone": [(0.4, 0.4), (0.6, 0.38), (0.61, 0.6)]}


@pytest.mark.needs_tool("chromium")
def test_a_whole_zone_is_dragged_and_stays_in_the_picture(browser, device, config):
    config.write_text(device.text.replace("    #zones:\n      #hives: ", "    zones:\n      hives: "))
    with opened(browser, device) as page:
        drag(page, (0.3, 0.75), (0.4, 0.1))
        save(page)
    assert areas_in(config)[0] == {"hives": [(0.2, 0), (0.7, 0), (0.7, 0.5), (0.2, 0.5)]}


def test_a_plain_form_names_what_is_wrong_and_keeps_what_was_typed(client, config, device):
    version = version_of(text_of(config))
    wrong = {"version": version, "kind-0": "zone", "name-0": "1st", "corners-0": HIVES, "kind-1": "mask"}
    answer = client.change("/zones/yard", wrong | {"corners-1": "0,0 50,0 50,50"})
    assert answer.status_code == 400
    assert len(re.findall('<p class="problem">', answer.text)) == 2, "the name, and the percent"
    assert 'value="0,0 50,0 50,50"' in answer.text
    twice = {"version": version, "kind-0": "zone", "name-0": "a", "corners-0": HIVES}
    answer = client.change("/zones/yard", twice | {"kind-1": "zone", "name-1": "a", "corners-1": HIVES})
    assert answer.status_code == 400
    answer = client.change("/zones/yard", {"version": version, "kind-0": "mask", "corners-0": "0.1,0.1"})
    assert "Tap two more corners." in answer.text
    whole = {"version": version, "kind-0": "mask", "corners-0": "0,0 1,0 1,1 0,1"}
    assert client.change("/zones/yard", whole).status_code == 400
    assert config.read_text() == device.text


def test_the_second_of_two_is_refused_and_keeps_the_drawing(client, config, device):
    form = {"version": version_of(text_of(config)), "kind-0": "zone", "name-0": "hives", "corners-0": HIVES}
    other = device.text.replace("    #zones:\n      #hives: ", "    zones:\n      road: ")
    config.write_text(other)
    answer = client.change("/zones/yard", form)
    assert answer.status_code == 409
    assert "In the file now: Zone road: 4 corners; 10 to 60 % from the left" in words_of(answer)
    assert f'value="{HIVES}"' in answer.text
    assert config.read_text() == other


def test_the_still_shows_what_the_camera_sees_under_masks_too(client):
    answer = client.get("/zones/yard/still.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture[10:25, 40:60].mean() > 30  # under the mask of the flag
    assert client.get("/zones/nowhere/still.jpg").status_code == 404
    assert client.get("/zones/nowhere").status_code == 404
