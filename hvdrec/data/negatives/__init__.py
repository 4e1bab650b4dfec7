"""Negative samplers: tables of items and edges, and what is drawn of them for a batch."""
