"""A tagger of names, organisations, places, diagnoses, drugs and the formats, on the token states of MiniLM."""
