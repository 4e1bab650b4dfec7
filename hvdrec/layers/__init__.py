"""Layers: plain tf.Module building blocks."""
