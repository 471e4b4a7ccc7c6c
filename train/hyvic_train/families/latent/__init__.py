"""HyVIC and the joint codec."""
