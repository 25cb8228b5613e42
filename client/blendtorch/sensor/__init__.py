"""Effects of real cameras on pictures and labels, in plain numpy. Imports numpy and errors alone."""
