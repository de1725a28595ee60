"""New models for a device that nobody visits: fetched, checked, tried beside the old one, and switched to."""
