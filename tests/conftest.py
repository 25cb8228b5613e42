"""What all tests share."""

import signal


def pytest_configure() -> None:
    # A shell without job control has Ctrl-C ignored by what it starts in its background, and by all that this starts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
