"""A page in the browser over the Python API: ``python -m mvgen.studio``."""
