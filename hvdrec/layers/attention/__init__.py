"""Layers by which features of a row attend to its histories."""
