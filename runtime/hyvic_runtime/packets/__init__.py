"""Turns units into CCSDS Space Packets, and packets back into units."""
