"""Optimizers: one file each, and the learning-rate schedules."""
