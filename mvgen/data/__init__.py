"""Records and training examples: what is on disk, how it is read, how it is augmented."""
