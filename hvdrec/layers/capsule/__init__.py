"""Capsules: several vectors of a history, found by routing."""
