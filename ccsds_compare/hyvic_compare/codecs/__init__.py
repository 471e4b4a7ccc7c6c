"""Codecs behind one protocol: real octets, every bit of side information among them. One class in one file each."""
