"""Embedding banks: all tables of one width in one variable, and the placement of their rows."""
