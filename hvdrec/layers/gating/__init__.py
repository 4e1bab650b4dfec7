"""Layers that weigh features by what they learn of the row."""
