"""Checks a config before anything else runs."""
