"""How good a model, or a folder of videos, is: every score beside its chance level."""
