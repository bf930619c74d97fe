"""One network that guesses and corrects in the embedder's own tokens."""
