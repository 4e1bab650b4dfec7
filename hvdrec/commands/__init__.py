"""The implementation of each entry point."""
