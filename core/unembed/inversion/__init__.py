"""Inverters, what they give back, and how good that is."""
