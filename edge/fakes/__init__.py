"""Stand-ins for hardware, shipped beside the real thing: what they are asked, they answer as it would."""
