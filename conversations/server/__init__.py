"""The web server: processes, and an ASGI application in front of Django's synchronous views."""
