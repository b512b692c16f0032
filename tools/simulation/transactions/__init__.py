"""Copiers, zombies and late requests: transactions on virtual time, with faults."""
