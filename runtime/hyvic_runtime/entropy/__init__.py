"""Integer symbols to octets and back."""
