"""A config's backbone as layers: built from its shapes, run on tensors."""
