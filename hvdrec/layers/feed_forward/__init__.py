"""Layers from columns to columns: dense layers and stacks of them."""
