"""Training of the scene-adaptive codec's context model."""
