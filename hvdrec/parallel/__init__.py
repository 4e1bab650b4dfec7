"""Replica groups: one process, or Horovod."""
