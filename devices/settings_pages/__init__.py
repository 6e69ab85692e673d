"""The settings of a device, its keys, and the bin."""
