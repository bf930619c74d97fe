"""The one loop, and the data that drive it."""
