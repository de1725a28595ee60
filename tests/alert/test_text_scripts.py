"""The scripts of the documentation for SMS and LoRa, as people copy them, with programs that lose, repeat and hang."""

import os
import re
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest

from edge.alert import delivery
from edge.alert.alerting import Alerting
from edge.alert.text import LIMIT_S, text_id
from edge.record.outbox import Message
from edge.record.run import EventFactory
from edge.settings import AlertSettings
from tests.helpers.outbox_world import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's scripts")
SCRIPTS = Path(__file__).parents[2] / "docs" / "no-network"

# One word of the file "plan" for each message that is to be sent; without one it arrives.
FATE = """#!/bin/sh
cd "$(dirname "$0")/.." || exit 1
fate() { # TO TEXT
    word=$(head -n 1 plan)
    sed -i 1d plan
    case "$word" in
        lost) return 1 ;;
        hangs) # until the siren was heard of both, which must not wait for this
            until [ "$(wc -l < siren)" -ge 2 ]; do sleep 0.05; done
            echo x > siren-did-not-wait
            exec sleep 100 ;;
    esac
    printf '%s|%s\\n' "$1" "$2" >> received
    [ "$word" != repeated ]
}
"""
MMCLI = """
case "$*" in
    *create-sms*) # number='+1',text="…"
        number=$(($(ls sms | wc -l) + 1))
        echo "$*" > "sms/$number"
        echo "Successfully created new SMS: /org/freedesktop/ModemManager1/SMS/$number" ;;
    *--send*)
        sms="sms/${2##*/}"
        fate "$(sed "s/.*number='\\([^']*\\)'.*/\\1/" "$sms")" "$(sed 's/.*text="\\(.*\\)"/\\1/' "$sms")" ||
            { echo "error: couldn't send the SMS" >&2; exit 1; } ;;
    *delete-sms*) echo "${3##*/}" >> deleted ;;
esac
"""
MESHTASTIC = """
for text; do :; done
fate mesh "$text"
case $?,$word in # the exit code of the real program is 0 for a NAK
    1,lost) echo "Received a NAK, error reason: MAX_RETRANSMIT" ;;
    1,*) echo "Aborting due to: Timed out waiting for an acknowledgment"; exit 1 ;;
    *) echo "Received an implicit ACK. Packet will likely arrive, but cannot be guaranteed." ;;
esac
"""


def timeout(limit_s):
    """The program `timeout`, with a limit of its own."""
    return f'#!/bin/sh\nshift\nexec {shutil.which("timeout")} {limit_s} "$@"\n'


def programs(folder, monkeypatch, **texts):
    """Put programs on the PATH, and what is kept into a folder of the test."""
    (folder / "bin").mkdir()
    (folder / "sms").mkdir()
    for name, text in texts.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STATE_DIRECTORY", str(folder / "kept"))


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("script", "program", "fake", "to"),
    [("sms.sh +15550100 +15550101", "mmcli", MMCLI, {"+15550100", "+15550101"}),
     ("meshtastic.sh 1", "meshtastic", MESHTASTIC, {"mesh"})],
    ids=["sms", "lora"],
)  # fmt: skip
def test_every_alarm_arrives_at_everyone_and_a_repeat_has_the_same_id(tmp_path, monkeypatch, script, program, fake, to):
    monkeypatch.setattr(delivery, "RETRY_MIN_S", 0.05)
    programs(tmp_path, monkeypatch, **{program: FATE + fake, "timeout": timeout(3.0)})
    (tmp_path / "plan").write_text("hangs\nlost\nrepeated\nlost\nrepeated\n")
    siren = f"echo x >> {tmp_path}/siren"
    settings = AlertSettings(bell=False, on_alarm=siren, text=f"{SCRIPTS}/{script}")
    alerting = Alerting(settings, EventFactory(), state=tmp_path / "state")
    bears = [alerting.run.event("bear", "new", letter * 32, "Opa's yard", label="bear", score=0.9) for letter in "ab"]
    for bear in bears:
        for sink in alerting.sinks:
            sink(bear)
    ids = {text_id(Message((bear,), "word")) for bear in bears}

    def received():
        found = defaultdict(list)
        for each in (tmp_path / "received").read_text().splitlines() if (tmp_path / "received").exists() else []:
            who, words = each.split("|")
            assert words.startswith("BEAR at Opa's yard: bear, 90% sure")
            found[who, words[-4:]].append(words)
        return found

    wait_for(lambda: set(received()) == {(who, each) for who in to for each in ids}, 40.0)
    wait_for(lambda: all(each.stats.waiting == 0 for each in alerting._remote.deliverers), 40.0)
    alerting.close(5.0)
    assert (tmp_path / "siren-did-not-wait").exists()
    assert max(map(len, received().values())) > 1  # it repeats, rather than to lose
    if program == "mmcli":
        assert len((tmp_path / "deleted").read_text().split()) == len(list((tmp_path / "sms").iterdir()))


MODEM = """#!/bin/sh
cd "$(dirname "$0")/.." || exit 1
case "$*" in
    *--enable*) echo x > enabled ;;
    *create-sms*) # off after each start of the machine
        [ -e enabled ] || { echo "error: modem is disabled"; exit 1; }
        echo "/org/freedesktop/ModemManager1/SMS/$(echo "$*" | sed "s/.*number='+\\([0-9]*\\)'.*/\\1/")" ;;
    *--send*)
        number=${2##*/}
        echo "$number" >> tried
        case "$number" in *8) exec sleep 100 ;; esac
        echo "$number" | grep -qf failing && exit 1
        echo "$number" >> received ;;
esac
"""
CLOCK = """#!/bin/sh
[ "$1" = +%s ] || exec /bin/date "$@"
cd "$(dirname "$0")/.." || exit 1
echo $((20 * $(grep -c 8 tried) + 12 * $(grep -c 7 tried)))
"""  # 20 s are over after each that hangs, and 12 s after each that is slow
DEAD, NO_NETWORK = "9$\n", ".\n"  # which numbers fail


def test_one_number_that_hangs_or_is_refused_keeps_no_sms_from_the_others_and_repeats_none(tmp_path, monkeypatch):
    limits = tmp_path / "limits"
    logged = timeout(0.2).replace("shift", f'echo "$* limit=$1" >> {limits}\nshift')
    programs(tmp_path, monkeypatch, mmcli=MODEM, timeout=logged, date=CLOCK)
    (tmp_path / "tried").touch()
    failing, kept = tmp_path / "failing", tmp_path / "kept" / "sms"
    failing.write_text(DEAD)

    def codes(text_id, runs, *numbers, at="02:14"):
        monkeypatch.setenv("BEAR_TEXT_ID", text_id)
        monkeypatch.setenv("BEAR_TIME", at)
        words = [str(SCRIPTS / "sms.sh"), *(f"+{number}" for number in numbers)]
        return [subprocess.run(words, input=b"BEAR\n", check=False, stdout=2).returncode for _ in range(runs)]

    def took():
        found = (tmp_path / "received").read_text().split()
        (tmp_path / "received").unlink()
        return found

    failing.write_text(NO_NETWORK)
    assert codes("ab11", 12, 11, 19) == 12 * [75]
    failing.write_text(DEAD)
    assert codes("ab11", 4, 11, 19) == [75, 75, 65, 65]  # a dead number takes few of the 20 runs in an hour
    assert [codes("ab12", 1, 19, 11, at=str(each)) for each in range(3)] == 3 * [[65]]
    assert took() == 4 * ["11"]
    failing.write_text(NO_NETWORK)
    assert codes("ab13", 4, 19, 11) == 4 * [75]
    failing.write_text("12$\n")
    assert codes("ab13", 4, 19, 12) == [75, 75, 65, 65]
    failing.write_text(DEAD)
    assert codes("ab14", 4, 19, 12) == [75, 75, 65, 65]  # it took one in between: it has its three tries again
    assert took() == ["19", "12"]
    assert {each.stat().st_mode & 0o777 for each in kept.iterdir()} == {0o600}  # numbers of people
    for each in kept.iterdir():
        os.utime(each, 2 * (time.time() - 2 * 86_400,))
    assert codes("ab14", 2, 12) == [0, 0]  # after a day nothing is known
    assert took() == ["12"]
    assert len(list(kept.iterdir())) == 1
    assert codes("slow", 1, 17, 27, 37, 47, 57) == [75]
    assert took() == ["17", "27", "37"]
    assert codes("slow", 1, 17, 27, 37, 47, 57) == [0]
    assert took() == ["47", "57"]
    one = dict(re.findall(r"^.*--(?:messaging-)?(create|send|delete).*? limit=(\d+)$", limits.read_text(), re.M))
    assert 28 + sum(map(int, one.values())) < LIMIT_S
    assert codes("ab15", 3, 18, 28, 38, 11, 12) == 3 * [75]
    assert took() == ["11", "12"]
    (tmp_path / "tried").write_text("")
    monkeypatch.setenv("STATE_DIRECTORY", "/dev/null")  # nothing can be kept: sent all the same
    assert codes("ab16", 2, 19, 11) == [75, 75]
    assert took() == ["11", "11"]


@pytest.mark.parametrize("number", ["15550100", "+", "+1555-0100", ""])
def test_a_number_without_its_country_is_a_sentence_and_sends_nothing(tmp_path, monkeypatch, number):
    programs(tmp_path, monkeypatch, mmcli=MODEM)
    (tmp_path / "tried").touch()
    words = [str(SCRIPTS / "sms.sh"), "+15550101", number]
    done = subprocess.run(words, input=b"BEAR\n", check=False, capture_output=True)
    assert (done.returncode, done.stdout.decode()) == (
        65, f"{number} is no number for SMS; write + and the country first: +15550100\n"
    )  # fmt: skip
    assert (tmp_path / "tried").read_text() == ""
