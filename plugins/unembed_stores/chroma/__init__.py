"""Chroma's folders, read without Chroma: its SQLite file and its index files, of 0.4 to 1.x."""
