"""`make bench`: the portal against what one would build instead, on this machine, side by side."""
