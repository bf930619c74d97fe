"""How length, width and precision bound what a vector gives back: the grid, the searches and their figures."""
