"""What both ends of soak.py know of a picture."""

SHAPE = (160, 160, 4)  # large enough that batches of one instance stay where they were written


def color_of(index: int) -> int:
    """The value of all bytes of a picture; a prime number of them, so that neighbouring slots and batches differ."""
    return index % 251
