"""The outputs of models: one file a kind, and the registry."""
