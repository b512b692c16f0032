"""Share groups: records in flight, and the durable state of share partitions (KIP-932)."""
