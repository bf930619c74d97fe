"""SQLite files: tables of vectors, sqlite-vec's chunks, and what deleted rows left behind."""
