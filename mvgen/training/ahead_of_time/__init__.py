"""The training step compiled for machines that are not here: what it takes, and how long it may take."""
