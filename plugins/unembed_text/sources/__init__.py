"""Where training texts and pretrained weights come from."""
