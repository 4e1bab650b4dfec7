"""Layers that make embeddings of numbers."""
