"""Spans of a text that matter: found by their format or by a tagger, masked, and weighed."""
