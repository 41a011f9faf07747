"""Many runs at once: what each leaves behind, sums that can be joined, and what they tell."""
