"""What every codec family shares, and that knows none of them."""
