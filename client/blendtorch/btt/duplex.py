"""The training end of a two-way channel."""

from ..wire import duplex


class DuplexChannel(duplex.DuplexChannel):
    __doc__ = duplex.DuplexChannel.__doc__
    _binds = False
