"""How networks for prompts are trained and opened."""
