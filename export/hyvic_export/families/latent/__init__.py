"""Export of HyVIC and the joint codec."""
