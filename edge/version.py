"""The version of Bear Alarm."""

__version__ = "0.1.0"
