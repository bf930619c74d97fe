"""Inverters in the shape of vec2text's: two T5 networks over any text embedder (Morris et al. 2023)."""
