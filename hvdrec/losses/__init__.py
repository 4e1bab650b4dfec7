"""Losses: one file per family, a registry, and how several are combined."""
