"""Model calls that are passed through to a provider as the client sent them, and recorded."""
