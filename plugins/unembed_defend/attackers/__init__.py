"""Who tries to undo a defence, by what they know."""
