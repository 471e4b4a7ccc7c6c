"""The scene-adaptive codec: a spectral transform made for the scene, a wavelet, and a learned entropy model.

One small network serves every sensor, every number of bands and every rate; what adapts to the scene travels with it.
"""
