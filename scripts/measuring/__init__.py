"""How fast, how large, how right: a plan of measurements, what they found, and the page that says so."""
