"""Training StickerCLIP from nothing: data, losses, loop, figures."""
