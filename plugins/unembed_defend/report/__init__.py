"""The report of `unembed defend`: a table, a picture, and what they mean in words."""
