"""Decoded scenes to files, and folders of streams on Dask."""
