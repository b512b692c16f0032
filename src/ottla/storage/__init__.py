"""What one disk holds: partition logs in Kafka's own file formats. Synchronous."""
