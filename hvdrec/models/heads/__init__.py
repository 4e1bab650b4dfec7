"""The outputs of models: one file per kind, and the registry."""
