"""Consumer groups: membership, assignments and committed offsets (`__consumer_offsets`)."""
