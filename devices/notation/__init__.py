"""How figures and moments are written on pages: pure functions, without Django."""
