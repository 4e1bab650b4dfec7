"""Layers that add a loss comparing embeddings."""
