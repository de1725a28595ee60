"""Who is told: each sink is a callable that takes an Event, and works in its own thread."""
