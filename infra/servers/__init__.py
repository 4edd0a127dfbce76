"""Real servers on this machine, for tests and benchmarks, and what their processes use."""
