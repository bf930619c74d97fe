"""Prompts to train on: written, filled in, kept apart from test prompts, drawn in batches."""
