"""Videos in, a folder of records out: one clip after another, in parallel, or on a cluster through Beam."""
