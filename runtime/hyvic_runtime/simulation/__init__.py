"""Simulates the downlink of a scene: channel, simulation and report."""
