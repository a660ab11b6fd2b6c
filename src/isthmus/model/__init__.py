"""Everything that must be known about a network and its data."""
