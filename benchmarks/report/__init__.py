"""All benchmarks as one report: measured in turns, drawn, and kept by release."""
