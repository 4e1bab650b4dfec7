"""Capsules: several vectors per history, computed by routing."""
