"""Tools that know nothing of scenes and codecs."""
