"""Layers over texts."""
