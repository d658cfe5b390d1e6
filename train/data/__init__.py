"""Data sets: readers, encodings, augmentation, caching, prefetching."""
