"""What an upgrade changes, and since when: the same cases on several stacks of versions."""
