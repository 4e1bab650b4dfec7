"""The frame of a run: start and end, logging, agreement between ranks."""
