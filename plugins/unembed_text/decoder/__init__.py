"""The transformer that reads embeddings and writes token ids."""
