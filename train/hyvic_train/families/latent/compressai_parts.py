"""Parts of CompressAI that the latent codecs are made of."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # compressai 1.2.8 imports torch's deprecated torch.jit
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.layers import GDN, AttentionBlock

__all__ = ["GDN", "AttentionBlock", "EntropyBottleneck", "GaussianConditional"]
