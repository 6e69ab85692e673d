"""A device's own rhythm: how often it sends, with how many digits, and whether it is on time."""
