"""A stored scene to a stream of packets on board."""
