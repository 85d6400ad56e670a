"""Django's PostgreSQL backend for a read replica, whose statements fall back to the primary."""
