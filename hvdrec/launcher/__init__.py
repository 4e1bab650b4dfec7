"""From the command forms of schedulers to the processes of a run."""
