"""The training loop, the step, evaluation and the hooks around them."""
