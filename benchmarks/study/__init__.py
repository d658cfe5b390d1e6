"""What `benchmarks/results.py` trains, measures and prints."""
