"""What runs would have been like with a change, and whether it came true."""
