"""Training objectives: contrastive, generative, alignment."""
