"""Writes decoded scenes to files, and decodes folders of streams on Dask."""
