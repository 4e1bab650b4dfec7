"""Layers that add a loss which compares embeddings."""
