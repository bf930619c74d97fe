"""Plugins: what they may offer, how they are found, and how what they offer is opened."""
