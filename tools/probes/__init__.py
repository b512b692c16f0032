"""Questions put to the real Kafka, whose answers are kept as goldens."""
