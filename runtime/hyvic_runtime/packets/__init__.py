"""Units to CCSDS Space Packets and back."""
