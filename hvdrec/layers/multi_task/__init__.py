"""Layers of multi-task models: experts with gates, extraction layers, towers."""
