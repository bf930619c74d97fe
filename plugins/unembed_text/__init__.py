"""Text for unembed: sentence embedders as black boxes, and the encoder-decoder that inverts them."""
