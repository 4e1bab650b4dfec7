"""Exported models: their inputs and outputs, and how they are written."""
