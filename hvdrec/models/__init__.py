"""Models: one file per model_class, and the registry."""
