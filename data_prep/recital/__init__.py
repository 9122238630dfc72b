"""Recital: the built-in data set, performances composed, played and filmed by program, every note known."""
