"""Running vector databases over their REST interfaces; only calls that read are made."""
