"""How refused messages are logged: a peer that sends nothing but garbage must not fill the disk with lines about it."""

import logging


def log_refusal(log: logging.Logger, where: str, error: Exception, total: int, count: int = 1) -> None:
    """Logs a refusal: the first one, then those with which their number doubles.

    Args:
        log: The logger.
        where: The address it came to, or from.
        error: What is wrong.
        total: How many were refused so far, with these.
        count: How many these are.
    """
    if total.bit_length() > (total - count).bit_length():
        number = f" ({total} so far; the next is logged when they are twice as many)" if total > 1 else ""
        # Not the error itself: it holds the frames of the functions that it came through, and with them the message.
        log.warning("refused a message at %s: %s%s", where, str(error), number)
