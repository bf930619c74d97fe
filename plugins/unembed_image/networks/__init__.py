"""Networks over images."""
