"""The commands `audit` and `identify`."""
