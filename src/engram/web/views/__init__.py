"""What the page can ask for: one file, one question, found by its name."""
