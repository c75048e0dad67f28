"""The engine: fresh workers, limits, cache, scheduling, results on disk, progress."""
