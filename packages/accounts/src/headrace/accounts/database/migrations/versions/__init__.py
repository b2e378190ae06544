"""One file for each step. A step that was released is never changed: what it did wrong, a further one mends."""
