"""Weights of other frameworks, in and out. The only room of mvgen that knows foreign formats."""
