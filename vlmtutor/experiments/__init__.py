"""What takes minutes and no notebook teaches."""
