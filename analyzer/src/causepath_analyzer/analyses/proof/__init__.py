"""Whether one call needed what another returned, and what shows it."""
