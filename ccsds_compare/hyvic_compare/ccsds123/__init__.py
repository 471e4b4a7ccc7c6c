"""CCSDS 123.0-B-2: low-complexity lossless and near-lossless compression of multi- and hyperspectral images."""
