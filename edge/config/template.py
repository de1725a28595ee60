"""Write the file of ``bear-alarm config init``: every section, most of it behind a #.

A # directly before a word is a setting that may be switched on; a # and a space is a comment for people.
"""

from __future__ import annotations

import re

from edge.config.yaml_tree import NULLS

TEMPLATE = """\
# Bear Alarm. Everything is optional and has a default. Remove the # to set something.
# Check it with: bear-alarm config check {file}
# All settings: docs/settings.md. Relative paths count from this file's folder.
#
# Passwords and tokens do not belong in here: write ${{NAME}}, and put a line "NAME: value" into secrets.yml beside this
# file (chmod 600 secrets.yml), or set NAME in the environment.

# The cameras, each by a name of your own.
cameras:
  {camera}:
    # 0, /dev/video0, /dev/v4l/by-id/…, picamera://0, rtsp://…, http://…, a folder, a clip, demo
    source: {source}
    # The camera's smaller stream, to look for motion in.
    #motion_source: rtsp://10.0.0.20/small
    #enabled: yes
    # The stage in which the camera begins; later `bear-alarm stage` or the page changes it.
    # shadow: bears are recorded, and alarm nobody; supervised: people are notified, and noises wait for a yes;
    # autonomous: alarms and noises at once, as where nothing is written.
    {stage_sign}stage: {stage}
    # The alarm itself takes no stage away; it only says so.
    #stage_lock: yes
    # Only an animal in a zone raises the alarm. x,y as fractions of the picture; `bear-alarm snapshot` draws them.
    #zones:
      #hives: 0.1,0.5 0.6,0.5 0.6,1 0.1,1
    # Where nothing counts: a road, a flag, the neighbour's garden.
    #motion:
      #mask:
        #- 0,0 1,0 1,0.2 0,0.2
    # The settings of detect may be set for one camera too.
    #fps: 5
    #schedule: daily 20:00-07:00
  # A camera with nothing but a source may be written as the source alone. A folder in which pictures arrive:
  #trail:
    #source: /srv/ftp/trail
    #follow: yes

# How cameras look and decide.
#detect:
  # Frames analysed a second, and while nothing moves.
  #fps: 10
  #idle_fps: 5
  # Bear probability that counts, and in the dark (default: the model's own).
  #threshold: 0.7
  #night_threshold: 0.8
  # Evidence that raises the alarm, as `bear-alarm tune` advises.
  #alarm_at: 1.8
  # When it may alarm, in local time: mon-fri 22-5; sat,sun 20-7 (default: always).
  #schedule: daily 0-24

# What sounds here: siren, chirp, horn, barks, shouts, bangs, or WAV files.
{sound_sign}sound:
  {sound_sign}play: [{sound}]
  #seconds: 20
  # `aplay -L` lists them.
  #device: default

# Pins of a Raspberry Pi, as BCM numbers them: 17, 17:30 (seconds), 17:30:low:blink.
{relay_sign}relay:
  {relay_sign}- {relay}
  #- {{pin: 27, seconds: 60, active: low, blink: yes}}

# Noises and lamps that drive bears off. Whether you may do that depends on where you are.
#deterrent:
  #play: on
  #lamps: [22]
  #hours: daily 21-6

# Commands of your own; the event is in their environment and, as JSON, their standard input.
#command:
  #on_alarm: espeak "Bear alarm! $BEAR_LABEL at camera $BEAR_CAMERA"
  #on_trouble: logger "$BEAR_DETAIL"
  #text: ./sms.sh +15550100

# The terminal's bell, and a file of events, one line of JSON each.
#bell: yes
#events: events.jsonl

# Phones, chats, mail, desktops: Apprise URLs, https://appriseit.com/services/
# Anyone who knows an ntfy topic can read every message: keep this random one, and type it into the ntfy app.
{notify_sign}notify:
  {notify_sign}- {notify}

# Home Assistant and other machines. One URL is enough too: mqtt://USER:PASSWORD@HOST/PREFIX
{mqtt}
# Each event as JSON to an address of yours, signed.
{webhook_sign}webhook:
  {webhook_sign}url: {webhook}
  #secret: ${{WEBHOOK_SECRET}}

# Pictures and clips of alarms.
#record:
  #enabled: yes
  #path: evidence
  #quota_mb: 2000
  #reserve_mb: 200
  #negatives_per_day: 4
  #full_frame: no
  #pre_capture_s: 5
  #post_capture_s: 10

# How cameras earn their stages, and lose them.
#stages:
  # Share of alarms that must be right, at the lower end of its 95 % interval, for the next stage to be offered.
  #precision: 0.8
  # So many alarms in a row, reviewed as wrong, end autonomous.
  #wrong_in_a_row: 3
  # How long a supervised alarm waits for an answer, in seconds, and what it does without one: sound or silence.
  #answer_s: 30
  #unanswered: sound

# New models, by a stick, a web server or the broker of mqtt. Only what a trusted key signed is taken:
# `bear-alarm model trust KEY.pub`. A new model is tried beside the one in use first.
#updates:
  #sources: [/media/bears]
  # How often a web server is asked, in hours.
  #every_h: 24
  # It is used after so many frames with something to see, in so many hours at least, unless more alarms than this are
  # different.
  #frames: 300
  #hours: 168
  #max_differences: 3
  # With fewer frames after so many hours, a person is asked.
  #ask_h: 336

# How the alarm watches itself.
#health:
  #hot_c: 80
  #low_disk_mb: 500
  #slow_ms: 500
  # Asked for while all is well: silence is the alarm. healthchecks.io, Uptime Kuma.
  #heartbeat:
    #url: https://hc.example.org/ping/${{PING}}
    #every_s: 300
  # /healthz and /metrics.
  #listen: 127.0.0.1:9095
  # Under a service: every camera gone for so long starts it again; and where that was of no use, the machine.
  #restart_after_s: 600
  #reboot: no

# The alarm's page in a browser: live pictures, events, reviews, settings. 127.0.0.1: this machine only;
# 0.0.0.0: the whole local network, encrypted. `bear-alarm page claim` makes you its owner.
page:
  listen: 127.0.0.1:8470
  # Names it is asked for by, and no TLS of its own: only behind a proxy.
  #names: [bees.example.org]
  #allow_http: yes

# Where the cameras stand: it names the likely species, and goes into packages of Camtrap DP.
#site:
  #name: Upper meadow
  #latitude: 45.6
  #longitude: 14.5
  # Two letters; in the USA with the state, such as US-MT.
  #country: SI
  # A name or an offset such as +01:00; where it is empty: for events, this device's.
  #timezone: Europe/Ljubljana

# The model file (default: the chosen or the bundled one).
#model: bear.onnx
# The folder of the journal (default: this system's place for it).
#state: /var/lib/bear-alarm
# What was seen and decided, for `bear-alarm why`.
#trace: trace.bin
"""

MQTT_COMMENTED = """\
#mqtt:
  #host: 10.0.0.7
  #port: 1883
  #user: bear-alarm
  #password: ${MQTT_PASSWORD}
  #tls: no
  #insecure: no
  #prefix: bear-alarm
  #discovery: homeassistant
  #every_s: 30
  #pictures: yes
  #client_id: bear-alarm-1
"""


def template(
    *,
    file: str = "bear-alarm.yml",
    camera: str = "camera0",
    source: str = "0",
    stage: str | None = None,
    sound: str | None = None,
    relay: str | None = None,
    notify: str | None = None,
    mqtt: str | None = None,
    webhook: str | None = None,
) -> str:
    """Return the text of a config with one camera and the alerts that are given."""
    from edge.alert.notify import new_topic

    def sign(given: str | None) -> str:
        return "#" if given is None else ""

    return TEMPLATE.format(
        file=file if file.isprintable() else "FILE",
        camera=camera,
        source=quoted(source),
        stage=quoted(stage or "shadow"),
        stage_sign=sign(stage),
        sound=quoted(sound or "siren"),
        sound_sign=sign(sound),
        relay=quoted(relay or "17:30"),
        relay_sign=sign(relay),
        notify=quoted(notify or f"ntfy://{new_topic()}"),
        notify_sign=sign(notify),
        mqtt=MQTT_COMMENTED if mqtt is None else f"mqtt: {quoted(mqtt)}\n",
        webhook=quoted(webhook or "https://example.org/bears"),
        webhook_sign=sign(webhook),
    )


def quoted(value: str) -> str:
    """Quote a value so that YAML reads it as text; ``${NAME}`` is not changed."""
    if re.fullmatch(r"[\w./:-]*[\w/]", value) and value[0] not in "-:" and value not in NULLS:
        return value
    return "'" + value.replace("'", "''") + "'"
