"""The spec of each model class, from configs alone: one file per class, and the registry."""
