"""Checkpoints: the atomic store, rotation, names, restore."""
