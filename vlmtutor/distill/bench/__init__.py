"""The dense bench: what notebooks 12 to 17 open."""
