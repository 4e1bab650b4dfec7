"""Tools for configs: ``python -m hvdrec.tools.<name>``, with EasyRec's names."""
