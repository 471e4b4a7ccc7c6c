"""Studies: scripts that measure one question each and write a table; run from a checkout, not part of the wheel."""
