"""Compaction: of all records with a key the last stays, and what the rules keep besides."""
