"""One file = one data set, registered under its name."""
