"""SQL statements compiled once, and bulk inserts without model instances."""
