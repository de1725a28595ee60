"""Settings in fields and as text: what is saved, what is refused, and when the alarm uses it."""

import re
from html import unescape

import pytest

from edge.config.edit import text_of, version_of
from edge.config.template import template
from edge.page.guard import COOKIE
from tests.helpers.page_device import page_device
from tests.helpers.page_world import OWNER, page_world, wait_for
from tests.helpers.phone_web import MODULES, chromium

AXE = MODULES / "axe-core" / "axe.min.js"
FAULTS = "async () => (await axe.run()).violations.map(({id, nodes}) => [id, ...nodes.map((node) => node.html)])"
TEXT = template(camera="yard", source="0", sound="siren", notify="ntfy://secret-topic").replace(
    "    #schedule: daily 20:00-07:00", "    schedule: daily 20:00-07:00"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    (folder / "bear-alarm.yml").write_text(TEXT)
    with page_world(folder, config=folder / "bear-alarm.yml") as world:
        yield world


@pytest.fixture
def client(world):
    with world.client() as client:
        yield client


@pytest.fixture
def config(world):
    path = world.state.parent / "bear-alarm.yml"
    path.write_text(TEXT)
    return path


def form_of(page):
    """Return the fields that a browser would send of the settings' form, unchanged."""
    form = {}
    for tag in re.findall(r"<(?:input|option)[^>]*>", page.partition('action="/settings"')[2].partition("</form>")[0]):
        facts = {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        if "name" in facts and ('type="checkbox"' not in tag or " checked" in tag):
            form[facts["name"]] = facts.get("value", "on")
    return form


def words_of(response):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def test_what_is_not_changed_is_not_written(world, client, config):
    reloads = len(world.reloads)
    config.write_text(TEXT.replace("[siren]", "[siren, barks]"))
    form = form_of(client.get("/settings").text)
    assert client.change("/settings", form).headers["Location"] == "/settings"
    assert "[siren, barks]" in config.read_text()
    config.write_text(TEXT)
    form = form_of(client.get("/settings").text)
    assert form["cameras/yard/schedule"] == "daily 20:00-07:00"
    assert {name for name in form if name.startswith("sound/play")} == {"sound/play/siren"}
    answer = client.change("/settings", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings")
    whole = {"text": TEXT, "version": version_of(TEXT)}
    assert client.change("/settings/yaml", whole).headers["Location"] == "/settings"
    assert config.read_text() == TEXT
    assert len(world.reloads) == reloads


def test_changes_are_written_and_the_alarm_reads_them(world, client, config):
    reloads = len(world.reloads)
    form = form_of(client.get("/settings").text)
    form |= {"cameras/yard/schedule": "", "cameras/yard/fps": " 7 ", "health/hot_c": "75", "record/full_frame": "yes"}
    form["sound/play/barks"] = "on"
    assert client.change("/settings", form).headers["Location"] == "/settings?saved"
    assert len(world.reloads) == reloads + 1
    text = config.read_text()
    for line in ("    fps: 7\n", "  hot_c: 75\n", "  full_frame: yes\n", "  play: [siren, barks]\n"):
        assert line in text
    assert "schedule: daily 20:00-07:00" not in text
    assert text.count("#") >= TEXT.count("#") - 2  # of health and record


def test_a_wrong_value_is_explained_beside_its_field_and_stays_typed(client, config):
    form = form_of(client.get("/settings").text) | {"detect/fps": "fast", "cameras/yard/schedule": "never"}
    answer = client.change("/settings", form)
    assert answer.status_code == 400
    wrong = [tag for tag in re.findall(r"<input[^>]*>", answer.text) if 'aria-invalid="true"' in tag]
    assert re.findall(r'name="([^"]*)"', "".join(wrong)) == ["cameras/yard/schedule", "detect/fps"]
    again = form_of(answer.text)
    assert (again["detect/fps"], again["cameras/yard/schedule"]) == ("fast", "never")
    assert config.read_text() == TEXT


def test_of_two_who_change_it_the_second_is_refused_and_sees_both(client, config):
    form = form_of(client.get("/settings").text) | {"health/hot_c": "70", "detect/fps": "4"}
    other = TEXT.replace("  #hot_c: 80", "  hot_c: 60").replace("#health", "health")
    config.write_text(other.replace("#detect:", "detect:").replace("  #threshold: 0.7", "  threshold: 0.8"))
    answer = client.change("/settings", form)
    assert answer.status_code == 409
    assert "In the file now: 60" in words_of(answer)
    assert "bear-alarm.yml was changed by somebody else" in words_of(answer)
    again = form_of(answer.text)
    assert (again["health/hot_c"], again["detect/threshold"]) == ("70", "0.8"), "what was typed, and what others wrote"
    assert "hot_c: 60" in config.read_text()
    client.change("/settings", again)
    assert "hot_c: 70" in config.read_text()
    assert "fps: 4" in config.read_text()
    assert "threshold: 0.8" in config.read_text()


def test_a_decimal_comma_is_a_point_and_a_percentage_gets_its_number(client, config):
    form = form_of(client.get("/settings").text)
    answer = client.change("/settings", form | {"detect/threshold": "70 %", "record/quota_mb": "1,000"})
    assert answer.status_code == 400
    assert "Write 0.7." in words_of(answer)
    assert form_of(answer.text)["record/quota_mb"] == "1,000", "a thousand, for some"
    assert client.change("/settings", form | {"detect/threshold": "0,7"}).status_code == 303
    assert "  threshold: 0.7\n" in config.read_text()


@pytest.mark.needs_tool("chromium")
def test_what_was_saved_is_said_once_and_leaving_with_an_unsaved_field_asks(world, config):
    with chromium() as browser:
        context = browser.new_context()
        cookie = world.accounts.log_in(OWNER, "test")
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": world.address}])
        page, asked = context.new_page(), list[str]()

        def answer(dialog):
            asked.append(dialog.type)
            dialog.accept()

        page.on("dialog", answer)
        page.goto(f"{world.address}/settings")
        field = page.get_by_label("Report more heat than (°C)")
        field.fill("75")
        page.get_by_role("button", name="Save and use").click()
        page.locator(".notice").wait_for()
        page.wait_for_url("**/settings")
        page.reload()
        assert page.locator(".notice").count() == 0
        assert asked == []
        field.fill("76")
        page.goto(f"{world.address}/events")
        assert asked == ["beforeunload"]


@pytest.mark.parametrize("sound", ["[[siren]]", "{play: {siren: yes}}", "{play: [{a: b}, siren]}"])
def test_sounds_that_are_no_words_are_shown_as_none(client, config, sound):
    config.write_text(re.sub(r"(?m)^sound:\n(  .*\n)*", f"sound: {sound}\n", TEXT))
    page = client.get("/settings")
    assert page.status_code == 200
    assert ("sound/play/siren" in form_of(page.text)) == (sound[-7:] == "siren]}")


def test_the_text_is_checked_and_problems_have_their_lines(client, config):
    page = client.get("/settings/yaml")
    assert "secret-topic" in page.text
    text = TEXT.replace("    source: 0", "    source: 0\n    fps: 99\n    colour: red")
    answer = client.change("/settings/yaml", {"text": text.replace("\n", "\r\n"), "version": version_of(TEXT)})
    assert answer.status_code == 400
    line = TEXT[: TEXT.index("    source: 0")].count("\n") + 2
    assert f"Line {line}: cameras.yard.fps: " in words_of(answer)
    assert f"Line {line + 1}: cameras.yard.colour: " in words_of(answer)
    assert "colour: red" in answer.text
    good = text.replace("\n    colour: red", "").replace("99", "9")
    answer = client.change("/settings/yaml", {"text": good.replace("\n", "\r\n"), "version": version_of(TEXT)})
    assert answer.status_code == 303
    assert config.read_text() == good
    answer = client.change("/settings/yaml", {"text": TEXT, "version": version_of(TEXT)})
    assert answer.status_code == 409
    assert "-    fps: 9" in unescape(answer.text)
    assert unescape(answer.text.partition("<textarea")[2].partition(">\n")[2].partition("</textarea>")[0]) == TEXT
    assert config.read_text() == good


def test_a_viewer_sees_values_and_neither_secrets_nor_the_text(world, client, config):
    with world.client("viewer") as viewer:
        page = viewer.get("/settings").text
        assert [viewer.get(place).status_code for place in ("/settings/yaml", "/zones/yard")] == [403, 403]
    assert 'value="daily 20:00-07:00"' in page
    assert '<fieldset class="all" disabled>' in page
    assert "secret-topic" not in page + client.get("/settings").text


def test_a_damaged_config_can_be_mended_as_text_alone(client, config):
    config.write_text("cameras: [\n")
    assert '<fieldset class="all" disabled>' in client.get("/settings").text
    assert "The alarm cannot use this file as it is. Line 2: " in words_of(client.get("/settings/yaml"))
    answer = client.change("/settings/yaml", {"text": TEXT, "version": version_of(text_of(config))})
    assert answer.status_code == 303
    assert config.read_text() == TEXT


def test_without_a_config_everything_can_only_be_read(tmp_path):
    with page_world(tmp_path) as world, world.client() as client:
        page = client.get("/settings")
        assert "bear-alarm config init" in words_of(page)
        assert form_of(page.text) == {}
        assert client.change("/settings", {"detect/fps": "5"}).status_code == 409
        assert [client.get(place).status_code for place in ("/settings/yaml", "/zones/yard")] == [404, 404]
        assert client.change("/zones/yard", {}).status_code == 404


@pytest.mark.needs_tool("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing_and_320_pixels_are_enough(world, config, scheme):
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)
        cookie = world.accounts.log_in(OWNER, "test")
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": world.address}])
        page = context.new_page()
        for place in ("/settings", "/settings/yaml", "/zones/yard"):
            page.goto(world.address + place)
            if place == "/zones/yard":
                page.get_by_role("button", name="New zone").click()
                page.get_by_role("button", name="Add a corner").click(click_count=3)
            page.evaluate(AXE.read_text())
            assert page.evaluate(FAULTS) == []
            assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.alone
def test_the_running_alarm_uses_what_was_saved_and_says_why_when_it_cannot(tmp_path):
    with page_device(tmp_path) as device, device.client() as client:
        before = device.config.read_text()
        assert client.change("/settings", form_of(client.get("/settings").text) | {"cameras/yard/fps": "3"}).is_redirect
        wait_for(lambda: client.get("/settings/state").json()["state"] == "used")
        assert 'data-state="used"' in client.get("/settings?saved").text
        assert device.config.read_text() == before.replace(
            "        - 0,0 0.1,0 0.1,0.1\n", "        - 0,0 0.1,0 0.1,0.1\n    fps: 3\n"
        )
        device.config.write_text(before.replace("tiny.onnx", "damaged.onnx"))
        (tmp_path / "damaged.onnx").write_bytes(b"no model")
        form = form_of(client.get("/settings").text) | {"cameras/yard/fps": "4"}
        assert client.change("/settings", form).is_redirect
        wait_for(lambda: client.get("/settings/state").json()["state"] == "problem")
        assert 'data-state="problem"' in client.get("/settings?saved").text
        (tmp_path / "damaged.onnx").write_bytes((tmp_path / "tiny.onnx").read_bytes())
        wait_for(lambda: '<p class="plate problem"' in client.get("/settings").text)
        again = client.change("/settings", form_of(client.get("/settings").text))
        assert again.headers["Location"] == "/settings?saved", "nothing is changed, but the alarm may use it now"
        seen = set()  # from the first request on: nothing of the old reason

        def used() -> bool:
            state = client.get("/settings/state").json()["state"]
            seen.add(state)
            return bool(state == "used")

        wait_for(used)
        assert seen <= {"waiting", "used"}
