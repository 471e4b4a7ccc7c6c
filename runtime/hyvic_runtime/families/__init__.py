"""The codec families, and the registry that knows them all."""
