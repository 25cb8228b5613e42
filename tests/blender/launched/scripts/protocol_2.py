"""A peer of a later version of the protocol."""

from blendtorch import btb
from blendtorch.wire import codec

codec.PROTOCOL_VERSION = 2
btb.parse_blendtorch_args()
