"""What `same_numbers.py` measures."""
