"""Pages that are printed from the program and are too long for generate.py."""
