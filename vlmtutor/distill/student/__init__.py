"""A small CLIP that learns from a large one (notebook 11)."""
