"""The model families, and the registry that knows them all."""
