"""What all tests share."""

import signal


def pytest_configure() -> None:
    # A shell without job control starts what runs in its background with Ctrl-C ignored, and so would be all that tests start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
