"""Rates, intervals, paired tests, calibration: statistics that every judge shares. Needs no torch."""
