"""Numbers: compiled sums, angles, bits, products, double-double arithmetic; threads that change no result."""
