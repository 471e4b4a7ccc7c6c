"""Codecs with one protocol: real octets, all side information included. Each codec has a file of its own."""
