"""Device: the machine that runs the alarm, its health, its service and its telemetry."""
