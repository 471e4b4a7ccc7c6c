"""Chooses what is sent: qualities within a budget of octets, and the order of units."""
