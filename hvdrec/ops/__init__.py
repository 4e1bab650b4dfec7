"""The Python face of csrc."""
