"""Report of a comparison: one source of curves and tables, drawn as a page, as pictures and as files."""
