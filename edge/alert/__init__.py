"""Alert: who is notified of an event, at once on this device and later over a network."""
