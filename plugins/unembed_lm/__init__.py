"""Prompts from a language model's next-token probabilities."""
