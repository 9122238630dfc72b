"""Trains and measures ``encodec_tiny``, the small EnCodec whose weights travel with the package."""
