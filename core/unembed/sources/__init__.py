"""What vectors and passages are read from."""
