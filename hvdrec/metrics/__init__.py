"""Metrics: one file per metric, and how they merge across ranks."""
