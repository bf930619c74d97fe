"""One T5 that guesses and corrects from the log-ratios of a few steps."""
