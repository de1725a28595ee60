"""The loudspeaker at work: real players and stand-ins for them, what fails, and no siren that outlives its time."""

import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.alert.sound import Player, Sound, SoundError, SoundFile, find_players, read_wav
from edge.background import StoppableThread, in_background
from tests.helpers.sink_world import alive, event, lines, script, soon

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for players are shell scripts")
ROOT = Path(__file__).parents[2]


@pytest.mark.needs_tool("aplay")
def test_the_real_aplay_plays_every_sound_to_nowhere(tmp_path):
    (player,) = find_players("null", "linux")
    for what in ("siren", "chirp", "barks"):
        sound = Sound(what, seconds=3.0, players=[player])
        sound(event())
        assert sound.problem is None
        sound.close()
    sound = Sound("siren", device="null")
    assert sound.check() is None
    worker = in_background(sound, "the siren", deadline_s=15.0, at_end=sound.close)
    worker(event())
    assert worker.close(20.0)
    assert (worker.done, worker.failures) == (1, 0)


@pytest.mark.needs_tool("aplay")
def test_the_real_aplay_without_a_card_reports_why():
    sound = Sound("siren", seconds=0.5, device="nosuchcard")
    with pytest.raises(SoundError, match=r"siren cannot sound \(aplay: .*audio open error: No such"):
        sound(event())
    assert "audio open error" in (sound.problem or "")
    assert "audio open error" in (sound.check() or "")
    sound.close()


@pytest.mark.needs_tool("aplay")
def test_the_player_reads_what_it_was_given(tmp_path):
    copied = tmp_path / "played.wav"
    keep = f'cat "$1" > {copied}.part; mv {copied}.part {copied}'
    sound = Sound("siren", seconds=2.5, players=[script(tmp_path, "keep", keep)])
    sound(event())
    assert soon(copied.exists)
    sound.close()
    assert read_wav(copied, 60.0).seconds == pytest.approx(2.5)
    with SoundFileOf(copied) as file:
        ran = subprocess.run(
            ["aplay", "-q", "-D", "null", file.path],
            pass_fds=file.handles,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (0, b"")


class SoundFileOf(SoundFile):
    """A file's bytes where a player finds them."""

    def __init__(self, path):
        super().__init__(path.read_bytes())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_only_alarms_and_tests_sound(tmp_path):
    diary = tmp_path / "diary"
    sound = Sound("chirp", seconds=20.0, players=[script(tmp_path, "play", f"echo played >> {diary}")])
    for kind, type_ in (("bear", "update"), ("bear", "end"), ("camera", "new"), ("health", "new")):
        sound(event(type_, kind=kind))
    assert not lines(diary)
    sound(event(kind="test"))
    assert soon(lambda: lines(diary) == ["played"])
    sound.close()


def test_a_new_alarm_makes_it_go_on_and_never_two_sound_at_once(tmp_path):
    diary = tmp_path / "diary"
    # A player that takes 0.6 s for its file, and reports when another is at work beside it.
    play = f"mkdir {tmp_path}/busy || echo two >> {diary}; echo on >> {diary}; sleep 0.6; rmdir {tmp_path}/busy"
    sound = Sound("siren", seconds=2.0, players=[script(tmp_path, "play", play)])
    sound(event())
    assert soon(lambda: lines(diary) == ["on"])
    sound(event(seq=2))
    assert soon(lambda: lines(diary) == ["on", "on"])
    sound.close()
    assert lines(diary) == ["on", "on"]


def test_a_player_that_fails_gives_way_to_the_next_which_is_tried_first_from_then_on(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    diary = tmp_path / "diary"
    deaf = script(tmp_path, "deaf", f"echo deaf >> {diary}; echo 'Connection refused' >&2; exit 1")
    well = script(tmp_path, "well", f"echo well >> {diary}; exec sleep 5")
    sound = Sound("siren", seconds=20.0, players=[Player("gone", ("/nowhere/gone",)), deaf, well])
    assert "siren is played by gone, else by deaf, else by well" in caplog.text
    sound(event())
    assert sound.problem is None
    assert soon(lambda: lines(diary) == ["deaf", "well"])
    sound.stop()
    assert soon(lambda: not sound._thread.going)
    assert sound.player == "well"
    assert "siren: gone does not work here; using well" in caplog.text
    sound(event())
    assert soon(lambda: lines(diary) == ["deaf", "well", "well"])
    sound.close()


def test_when_none_can_it_is_reported_and_tried_again_while_it_should_sound(tmp_path, monkeypatch):
    busy, diary = tmp_path / "busy", tmp_path / "diary"
    busy.touch()
    card = script(
        tmp_path,
        "card",
        f"[ -e {busy} ] && echo 'Device or resource busy' >&2 && exit 1; echo on > {diary}; exec sleep 5",
    )
    sound = Sound("siren", seconds=30.0, players=[card])
    worker = in_background(sound, "--sound siren", deadline_s=15.0, at_end=sound.close)
    with monkeypatch.context() as slow:
        slow.setattr("edge.alert.sound.FAILS_WITHIN_S", 10.0)  # a busy machine starts it late
        worker(event())
        assert soon(lambda: worker.failures == 1)
    assert "siren cannot sound (card: Device or resource busy)" in (worker.last_error or "")
    busy.unlink()
    assert soon(lambda: lines(diary) == ["on"])
    assert soon(lambda: sound.problem is None)
    worker.close(5.0)


def test_the_check_finds_the_player_that_works_without_a_sound(tmp_path):
    sizes = tmp_path / "sizes"
    deaf = script(tmp_path, "deaf", "exit 1")
    well = script(tmp_path, "well", f'wc -c < "$1" >> {sizes}')
    sound = Sound("siren", players=[deaf, well])
    assert sound.check() is None
    assert sound.player == "well"
    assert int(lines(sizes)[0]) < 20_000  # a fifth of a second
    sound.close()
    alone = Sound("siren", players=[deaf])
    assert "deaf: exit code 1" in (alone.check() or "")
    alone.close()


def test_an_alarm_cuts_the_check_short(tmp_path):
    hangs = script(tmp_path, "hangs", "exec sleep 60")
    sound = Sound("siren", seconds=20.0, players=[hangs])
    checking = threading.Thread(target=sound.check)
    checking.start()
    sound(event())
    checking.join(20.0)
    assert not checking.is_alive()
    assert sound.problem is None
    sound.close()


def test_a_player_that_talks_without_end_does_not_stop_for_a_full_pipe(tmp_path):
    talks = script(
        tmp_path, "talks", f"head -c 300000 /dev/zero | tr '\\0' x >&2; touch {tmp_path}/through; exec sleep 30"
    )
    sound = Sound("siren", seconds=20.0, players=[talks])
    sound(event())
    assert soon((tmp_path / "through").exists)
    sound.close()


def test_closing_ends_the_player(tmp_path):
    pids = tmp_path / "pids"
    sound = Sound("siren", players=[script(tmp_path, "play", f"trap '' TERM; echo $$ > {pids}; exec sleep 60")])
    worker = in_background(sound, "--sound siren", deadline_s=15.0, at_end=sound.close)
    worker(event())
    assert soon(lambda: lines(pids))
    assert worker.close(20.0)
    assert not alive(int(lines(pids)[0]))


PROGRAM = """
import os, sys, time
from edge.schema import Event
from edge.alert.sound import Player
from edge.alert.sound import Sound
sound = Sound("siren", seconds=float(sys.argv[2]), players=[Player("play", (sys.argv[1],))])
sound(Event("bear", "new", "id", 1, "run", "yard", "2026-01-01T00:00:00.000Z"))
print("sounds", flush=True)
if sys.argv[3] == "exit":
    sys.exit(not input())
time.sleep(60)
"""


def program(player, seconds, how):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", PROGRAM, player.command[0], str(seconds), how]
    process = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "sounds\n"
    return process


def test_the_siren_ends_with_the_program(tmp_path):
    pids = tmp_path / "pids"
    with program(script(tmp_path, "play", f"echo $$ > {pids}; exec sleep 60"), 60.0, "exit") as process:
        assert soon(lambda: lines(pids))
        process.communicate("now\n", 20.0)
        assert process.returncode == 0
    assert not alive(int(lines(pids)[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="the sound lies in memory on Linux")
def test_when_the_program_is_killed_the_siren_still_ends_by_itself(tmp_path):
    pids, size = tmp_path / "pids", tmp_path / "size"
    # It plays at the pace of a card: 44,100 bytes a second.
    play = script(
        tmp_path, "play", f'echo $$ > {pids}; sleep 0.5; n=$(wc -c < "$1"); echo $n > {size}; sleep $((n / 44100))'
    )
    with program(play, 2.0, "stay") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(20.0)
    assert soon(lambda: lines(pids) and not alive(int(lines(pids)[0])))
    assert int(lines(size)[0]) == pytest.approx(2 * 44_100, rel=0.01)  # the file outlived us, and is finite


def test_a_stint_goes_on_for_longer_when_asked_and_ends_when_stopped():
    done: list[str] = []
    began = threading.Event()

    def work(thread):
        asked = thread.asked
        began.set()
        while thread.wait_for_more(asked):
            asked = thread.asked
            done.append("more")
        done.append("over")

    thread = StoppableThread(work, "the lamp")
    assert thread.run_for(60.0)
    assert began.wait(20.0)
    assert not thread.run_for(0.1)
    assert soon(lambda: done == ["more"])
    assert thread.going
    assert thread.stop(20.0)
    assert done == ["more", "over"]
    assert thread.run_for(0.05)
    assert soon(lambda: not thread.going)
    assert done == ["more", "over", "over"]


def test_a_stint_whose_work_fails_is_over_and_can_be_asked_again(caplog):
    def work(thread):
        raise OSError("the lamp has burst")

    thread = StoppableThread(work, "the lamp")
    assert thread.run_for(60.0)
    assert soon(lambda: not thread.going)
    assert "the lamp failed: the lamp has burst" in caplog.text
    assert thread.run_for(60.0)
    assert soon(lambda: not thread.going)


def test_between_the_call_and_the_players_start_hardly_more_passes_than_starting_a_process(tmp_path, monkeypatch):
    started: list[float] = []
    play = Player.play

    def timed(self, sound):
        playing = play(self, sound)
        started.append(time.perf_counter())
        return playing

    monkeypatch.setattr(Player, "play", timed)
    ours, bare = [], []
    sound = Sound("siren", seconds=5.0, players=[Player("true", ("true",))])
    for _ in range(15):
        before = time.perf_counter()
        sound(event())
        ours.append(started[-1] - before)
        sound.stop()
        before = time.perf_counter()
        with subprocess.Popen(["true"]):
            bare.append(time.perf_counter() - before)
    sound.close()
    print(f"median {statistics.median(ours) * 1000:.2f} ms, a process alone {statistics.median(bare) * 1000:.2f} ms")
    assert statistics.median(ours) < 4.0 * statistics.median(bare) + 0.1  # a busy machine's
