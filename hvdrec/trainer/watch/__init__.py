"""Observers of a run: evaluation, early stop, exports, TensorBoard."""
