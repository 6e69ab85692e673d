"""Bounds of what one person may have, ask for and hold; `config.settings` takes all names of `settings`."""
