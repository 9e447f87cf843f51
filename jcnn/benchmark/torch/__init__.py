"""PyTorch as the peer of the benchmarks; only the process that runs it imports it."""
