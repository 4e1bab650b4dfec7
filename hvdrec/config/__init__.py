"""Configuration: protos, loading, editing, expanding, checking."""
