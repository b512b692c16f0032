"""What the cluster is: its image, who decides about it, and the store that keeps it."""
