"""Whole brokers and their clients on virtual time, with faults; what they did, and whether it was right."""
