"""Transactions: who may write in which, and how each ends (KIP-98, KIP-360, KIP-890)."""
