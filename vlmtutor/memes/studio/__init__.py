"""The widgets of the meme studio: a thin skin over :mod:`vlmtutor.memes`."""
