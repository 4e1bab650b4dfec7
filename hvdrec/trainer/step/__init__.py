"""The training step: feeding batches, exchange, update, and the check for finite numbers."""
