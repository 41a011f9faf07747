"""One module for each model SDK: a table of places to patch, and how to read what passes them."""
