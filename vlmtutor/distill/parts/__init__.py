"""What several methods are built from, one idea a module."""
