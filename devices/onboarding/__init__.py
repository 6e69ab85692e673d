"""From a new device to its first reading: pages to add a device or a profile, and to connect a device."""
