"""The commands `encode-scene`, `decode-packets`, `simulate-downlink` and `verify-bundle`."""

from hyvic_runtime.cli.decoding import decode_packets
from hyvic_runtime.cli.downlink import simulate_downlink
from hyvic_runtime.cli.encoding import encode_scene
from hyvic_runtime.cli.verification import verify_bundle

__all__ = ["decode_packets", "encode_scene", "simulate_downlink", "verify_bundle"]
