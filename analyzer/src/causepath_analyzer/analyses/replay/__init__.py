"""A run as a schedule that can be changed and run again."""
