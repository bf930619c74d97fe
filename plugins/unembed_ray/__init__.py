"""unembed on Ray: blocks of vectors inverted by actors of a cluster, or of one machine."""
