"""What looks at a run: evaluation, early stop, exports, TensorBoard."""
