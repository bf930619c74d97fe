"""What stored vectors are still good for: retrieval, similarity, neighbours, speed and size."""
