"""Doctor: check each part of the alarm on this device."""
