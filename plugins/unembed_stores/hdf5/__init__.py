"""HDF5 files: data sets of vectors, and the space that deleted ones left."""
