"""A downlink to try a scene on: channel, simulation and report."""
