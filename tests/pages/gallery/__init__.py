"""Every page, brought up with something to see: for pictures (`make screenshots`) and for axe-core."""
