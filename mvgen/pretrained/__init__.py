"""Models that come with mvgen, each with its card."""

import os

RECITAL = os.path.join(os.path.dirname(__file__), "recital")
"""Trained on Recital, both directions."""
