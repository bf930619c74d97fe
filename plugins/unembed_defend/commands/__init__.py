"""The command `defend`."""
