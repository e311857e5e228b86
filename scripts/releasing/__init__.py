"""What is given to others: the archives, what lies inside, and whether they work where nothing else is installed."""
