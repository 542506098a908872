"""The fair comparison: what all methods have in one file, and how it is read."""
