"""The list of conversations, and what is done with one."""
