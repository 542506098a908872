"""Data, models and questions of notebooks 01 to 06."""
