"""Short memos from vectors of a small encoder of our own: an inverter that a laptop trains in minutes."""
