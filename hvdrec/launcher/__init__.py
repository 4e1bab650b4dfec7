"""Translates the command forms of schedulers into the processes of a run."""
