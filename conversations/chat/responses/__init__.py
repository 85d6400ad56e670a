"""Model calls in the shape of OpenAI's Responses API: read, translated, asked, and shown."""
