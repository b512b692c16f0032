"""Side by side with the real Kafka: the same work, the same clients, one run."""
