"""Pictures of what runs have learned, and the report that shows them."""
