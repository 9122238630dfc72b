"""Scores, one idea a file, each defined in docs/metrics.md with its source."""
