"""The training step: batches in, exchange, update, and the check of its numbers."""
