"""How networks for texts are trained and opened."""
