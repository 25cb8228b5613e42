"""What both ends of soak.py know of a picture."""

SHAPE = (120, 160, 4)


def color_of(index: int) -> int:
    """The value of all bytes of a picture; a prime number of them, so that neighbouring slots and batches differ."""
    return index % 251
