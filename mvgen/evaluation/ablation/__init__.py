"""The choices of the model, each tried alone: what is tried, how it is measured, how it is told."""
