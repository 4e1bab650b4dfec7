"""From files to blocks of rows: readers, shards, shuffle, prefetch, the packed batch."""
