"""Images for unembed: CLIP, features and class probabilities as black boxes, and the network that inverts them."""
