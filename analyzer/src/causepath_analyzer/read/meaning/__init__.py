"""What spans mean in one vocabulary, whatever convention they were written in."""
