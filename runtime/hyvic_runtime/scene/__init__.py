"""Scenes: cube, files, georeference, marked samples and tile grid."""
