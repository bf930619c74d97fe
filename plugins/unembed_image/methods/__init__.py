"""How networks for images are trained and opened."""
