"""One of each kind of plug-in that engram takes, each in a file of its own."""
