"""One file = one architecture = one table of places, called FAMILY."""
