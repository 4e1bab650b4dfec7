"""Programs around a config: ``python -m hvdrec.tools.<name>``, by the names that EasyRec's have."""
