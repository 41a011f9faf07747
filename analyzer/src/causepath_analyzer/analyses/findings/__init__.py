"""What would make a run faster or cheaper: one file for each finding."""
