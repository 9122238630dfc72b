"""mvgen: what a musician's movements and the music have to do with each other, learned in both directions."""

__version__ = "0.1.0"
