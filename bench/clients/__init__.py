"""Other projects' clients against `/v1`, each started from its own package."""
