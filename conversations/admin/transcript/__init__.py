"""One conversation as a transcript."""
