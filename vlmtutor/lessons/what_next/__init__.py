"""The futures that notebook 19 tries on small models from scratch."""
