"""Runs that take too long for a notebook, each a command."""
