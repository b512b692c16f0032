"""Replicated state machines over internal topics: groups, transactions, share groups."""
