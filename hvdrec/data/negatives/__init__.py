"""Negative samplers: tables of items and edges, and sampling from them for a batch."""
