"""`bear-alarm page`: links that make an owner, on the terminal alone; log-outs; the certificate handed out."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from edge.cli import page as commands
from edge.cli.doctor import findings
from edge.cli.doctor.page import check_page
from edge.files import ENVIRONMENT, JOURNAL
from edge.page.accounts import FILE, Accounts
from edge.page.serving import addresses_of
from edge.phone.authority import OwnAddress, own_addresses
from edge.record.run import keep_alone
from edge.settings import PageSettings, Settings
from tests.helpers.command import ROOT, bear_alarm
from tests.helpers.doctor_world import by_name, device

OWNER = "four words in a row"


@pytest.fixture
def home(tmp_path):
    """A folder with a config, whose state folder is ``state``."""

    def configure(page: str) -> object:
        (tmp_path / "bear-alarm.yml").write_text(
            f"cameras: {{yard: 'http://127.0.0.1:9/live'}}\nstate: state\npage: {page}\n"
        )
        return tmp_path

    configure("127.0.0.1:8471")
    return configure


def test_claim_prints_a_link_that_works_once_and_nothing_of_it_is_logged(home, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    ran = bear_alarm("page", "claim", cwd=tmp_path)
    assert ran.returncode == 0
    (code,) = re.findall(r"^  http://127\.0\.0\.1:8471/claim\?code=(\S+)$", ran.stdout, re.MULTILINE)
    assert ran.stdout.startswith("Open this link within")
    assert "█" not in ran.stdout, "no phone reaches it"
    assert "Only this machine reaches it." in ran.stdout
    assert "Nothing runs with the folder" in ran.stdout
    assert code not in ran.stderr + caplog.text
    accounts = Accounts(tmp_path / "state")
    cookie = accounts.claim(code, OWNER)
    assert not accounts.claim_fits(code)
    ran = bear_alarm("page", "logout", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "Everybody is logged out.\n")
    assert accounts.of_session(cookie) is None


@pytest.mark.parametrize(
    ("page", "link", "words"),
    [
        ("0.0.0.0:8471", r"https://\S+:8471/claim\?code=", ["page trust"]),
        ("{listen: '0.0.0.0:8471', allow_http: yes}", r"http://\S+:8471/claim\?code=", []),
        ("{listen: 8471, names: [bees.example.org]}", r"https://bees\.example\.org/claim\?code=", []),
        ("'[::1]:8471'", r"http://\[::1\]:8471/claim\?code=", ["Only this machine"]),
        ("off", r"http://127\.0\.0\.1:8470/claim\?code=", ["Only this machine"]),
    ],
)
def test_the_link_leads_where_the_page_is(home, tmp_path, page, link, words):
    home(page if page != "off" else "{}")
    ran = bear_alarm("page", "claim", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert re.search(rf"^  {link}", ran.stdout, re.MULTILINE)
    assert [each for each in ("page trust", "Only this machine") if each in ran.stdout] == words
    assert ("█" in ran.stdout) == ("Only this machine" not in words), "the QR code"


def test_the_command_that_trusts_is_for_the_same_page(tmp_path):
    given = ("--state", "here it is", "--page", "0.0.0.0:8499")
    assert f"`bear-alarm page trust {shlex.join(given)}`" in bear_alarm("page", "claim", *given, cwd=tmp_path).stdout


def test_where_a_service_is_installed_it_is_the_services_page(home, tmp_path, monkeypatch, capsys):
    """Also in a folder with the config that was tried before, whose alarm does not run any more."""
    etc, var = tmp_path / "etc.yml", tmp_path / "var"
    etc.write_text("cameras: {yard: 'http://127.0.0.1:9/live'}\npage: 127.0.0.1:8499\n")
    (tmp_path / "unit").write_text("")
    monkeypatch.setattr(findings, "UNIT", tmp_path / "unit")
    monkeypatch.setattr(findings, "SERVICE", var)
    monkeypatch.setattr(commands, "SYSTEM", etc)
    monkeypatch.setattr(commands, "SERVICE", var)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-user"))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)

    def claimed(**options):
        commands.claim(**options)
        return re.findall(r":(\d+)/claim", capsys.readouterr().out), [
            each.parent.name for each in tmp_path.glob(f"*/{FILE}")
        ]

    assert claimed() == (["8499"], ["var"])
    (tmp_path / "bear-alarm.yml").write_text("cameras: {yard: 0}\npage: 8471\n")
    assert claimed() == (["8499"], ["var"])
    with closing(keep_alone(tmp_path / "of-user" / "bear-alarm", "mine")):
        (tmp_path / "of-user" / "bear-alarm" / JOURNAL).write_text("")
        assert claimed()[0] == ["8471"]
    assert claimed()[0] == ["8499"]
    assert claimed(config=tmp_path / "bear-alarm.yml", state=tmp_path / "named")[0] == ["8471"]


def addresses(monkeypatch, listen, own, name=None):
    monkeypatch.setattr(
        "edge.phone.authority.own_addresses", lambda: [OwnAddress(ip_address(each), "") for each in own]
    )
    monkeypatch.setattr("edge.phone.authority.host_name", lambda: name)
    return addresses_of(PageSettings(listen=listen))


def test_links_lead_where_the_page_listens(monkeypatch):
    own = "10.0.0.7", "fd00::7"
    four, six = "https://10.0.0.7:8470", "https://[fd00::7]:8470"
    assert addresses(monkeypatch, "0.0.0.0:8470", own, "bees") == [four, "https://bees.local:8470"]
    assert addresses(monkeypatch, "[::]:8470", own) == [four, six]
    assert addresses(monkeypatch, "0.0.0.0:8470", own[1:]) == ["https://127.0.0.1:8470"]


@pytest.mark.parametrize(
    ("page", "state", "config", "options"),
    [
        ("8471", "state", "bear-alarm.yml", ""),
        ("8475", "state", "bear-alarm.yml", " --page 8475"),
        ("[::1]:8471", "other", "bear-alarm.yml", " --page '[::1]:8471' --state {}/other"),
        ("8470", "state", "yard.yml", " --config yard.yml"),
        ("8471", "state", None, ""),
    ],
)
def test_the_command_to_claim_it_names_what_is_not_in_the_config(
    home, tmp_path, monkeypatch, page, state, config, options
):
    (tmp_path / "yard.yml").write_text("cameras: {yard: 0}\nstate: state\n")
    monkeypatch.chdir(tmp_path)
    found = commands.claim_command(Settings(page=PageSettings(listen=page)), tmp_path / state, config and Path(config))
    assert found == "bear-alarm page claim" + options.format(tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("claim", "--page", "bees.local:80"), "is no place to listen on"),
        (("trust",), "has no certificate to trust"),
        (("claim", "--config", "none.yml"), "none.yml"),
    ],
)
def test_a_mistake_is_one_sentence(home, tmp_path, words, sentence):
    ran = bear_alarm("page", *words, cwd=tmp_path)
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_a_damaged_file_and_a_folder_that_is_none_are_one_sentence(home, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_text("{")
    for command in ("claim", "logout"):
        ran = bear_alarm("page", command, cwd=tmp_path)
        assert ran.returncode == 2
        assert f"{FILE}: is damaged; delete it" in ran.stderr
        assert ran.stdout == ""
    ran = bear_alarm("page", "claim", "--state", tmp_path / "bear-alarm.yml" / "x", cwd=tmp_path)
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_than_the_alarms_gets_a_sentence(home, tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    made = "from edge.page.accounts import Accounts; from pathlib import Path; import os, sys; os.setuid(65534)\n"
    tried = (
        "try: Accounts(Path(sys.argv[1])).new_claim()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", f"import hashlib; {made}{tried}", str(tmp_path / "state")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("OptionError")
    assert "cannot be written (Permission denied); run this as the alarm's user, or with sudo" in ran.stdout


def test_trust_hands_out_the_certificate_until_it_is_stopped(home, tmp_path):
    if not own_addresses() or own_addresses()[0].fault:
        pytest.skip("this machine has no address that a phone reaches")
    home("0.0.0.0:8471")
    command = [sys.executable, "-m", "edge", "page", "trust", "--http-port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        printed = ""
        assert process.stdout
        for line in process.stdout:
            printed += line
            if "End this with Ctrl-C" in line:
                break
        (url,) = re.findall(r"open   (http://\S+)", printed)
        with urllib.request.urlopen(url) as shown:
            page = shown.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    fingerprint = re.findall(r"^       ((?:[0-9A-F]{2} ){7}[0-9A-F]{2})$", printed, re.MULTILINE)
    assert len(fingerprint) == 4
    assert "\n".join(fingerprint) in page
    assert "The alarm's page is encrypted" in page
    assert "<h2>Computer</h2>" in page
    assert ":8471/" in page


# The doctor.


def found(tmp_path, **page):
    return by_name(check_page(device(tmp_path, settings=Settings(page=PageSettings(**page)))))


def test_the_doctor_looks_at_the_page(tmp_path):
    assert found(tmp_path) == {}
    unclaimed = found(tmp_path, listen="127.0.0.1:8470")["page"]
    assert (unclaimed.state, unclaimed.todo) == ("doubt", "bear-alarm page claim")
    (tmp_path / "state").mkdir()
    accounts = Accounts(tmp_path / "state")
    accounts.claim(accounts.new_claim(), OWNER)
    for listen in ("127.0.0.1:8470", "0.0.0.0:8470"):
        assert found(tmp_path, listen=listen)["page"].state == "fine"
    for_all = found(tmp_path, listen="0.0.0.0:8470", allow_http=True)["page"]
    assert for_all.state == "doubt"
    assert "anyone in the network can read its passphrase" in for_all.words
    assert "remove `allow_http`" in for_all.todo
    vpn = found(tmp_path, listen="100.64.1.2:8470")["page"]
    assert vpn.state == "broken"
    assert "private addresses" in vpn.words
    assert found(tmp_path, listen="100.64.1.2:8470", allow_http=True)["page"].state == "doubt"
    (tmp_path / "state" / FILE).write_text("{")
    damaged = found(tmp_path, listen="127.0.0.1:8470")["page"]
    assert (damaged.state, "is damaged" in damaged.words) == ("broken", True)
    assert damaged.todo.startswith("delete it")
