"""Layers over sequences that are no attention."""
