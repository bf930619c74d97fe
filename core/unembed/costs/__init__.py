"""What black boxes that charge cost."""
