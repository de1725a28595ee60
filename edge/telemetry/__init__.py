"""How the alarm is, for those who ask from outside: a page for monitors, figures for Prometheus, a heartbeat to a URL.

All of it reads ``edge.status.Status`` in threads of its own; none of it can hold up the alarm.
"""
