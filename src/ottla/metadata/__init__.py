"""What the cluster is: an immutable image, the changes between images, who decides them, where they are kept."""
