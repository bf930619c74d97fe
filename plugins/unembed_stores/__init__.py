"""Vector stores that are read as they lie on disk or run: each kind behind an extra, none ever written to."""
