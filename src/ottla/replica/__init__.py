"""Partitions as this broker plays them: leaders, waiting requests, flushing."""
