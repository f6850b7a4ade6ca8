"""The watershed: what is in the queue is on disk, and past it nothing knows of a door."""
