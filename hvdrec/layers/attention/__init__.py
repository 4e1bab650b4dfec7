"""Attention layers, including attention of a row's features to its histories."""
