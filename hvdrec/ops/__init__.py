"""Python wrappers of csrc."""
