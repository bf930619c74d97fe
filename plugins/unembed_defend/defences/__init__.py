"""The defences, and how one is asked for by name."""
