"""Runs a fleet until its standard input ends: ``fleet_child.py URL FOLDER``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.mqtt_settings import settings_from_url
from edge.fleet.fleet import Fleet

fleet = Fleet(settings_from_url(sys.argv[1]), Path(sys.argv[2]))
fleet.start()
sys.stdin.read()
fleet.close()
