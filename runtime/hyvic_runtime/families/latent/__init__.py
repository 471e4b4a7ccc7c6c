"""The family of HyVIC and the joint codec: an encoder graph turns a tile into the symbols of a learned latent."""
