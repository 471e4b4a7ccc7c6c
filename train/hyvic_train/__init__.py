"""Training of the learned codecs: models, losses, data and the loop."""
