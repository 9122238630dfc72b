"""Checks every record of a folder, and shows what is in it."""
