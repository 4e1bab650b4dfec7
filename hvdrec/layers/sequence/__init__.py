"""Sequence layers without attention."""
