"""What a comparison's report is made of: one source of curves and tables, drawn as a page, as pictures and as files."""
