"""Layers that weight features with learnt gates."""
