"""Embedding banks: all tables of one width in one, and where their rows are kept."""
