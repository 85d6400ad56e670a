"""Running turns in the background, and watching those of other processes."""
