"""A run from outside: where it begins and ends, what it logs, what its ranks agree on."""
