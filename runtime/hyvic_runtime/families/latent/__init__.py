"""HyVIC and the joint codec: one encoder graph makes the symbols of a learned latent."""
