"""A config's backbone as layers: built by its shapes, run over tensors."""
