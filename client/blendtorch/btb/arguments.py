"""What the launcher told this instance."""

import sys
from collections.abc import Sequence

from ..wire import LaunchArguments
from .session import open_session


def parse_blendtorch_args(argv: Sequence[str] | None = None) -> tuple[LaunchArguments, list[str]]:
    """Reads the launcher's arguments and tells it that the script is running.

    Call it once, first thing in a script. Works the same for a script started by `btt.BlenderLauncher` and by hand with
    `blender SCENE.blend --background --python SCRIPT.py -- ARGS`. Once called, an exception that ends the script in
    background mode is reported to the clients and ends Blender with exit status 1.

    Args:
        argv: The arguments; by default those of this process that follow `--`.

    Returns:
        The launch arguments (`btid`, `btseed`, `btsockets`, ...), and the remaining arguments for the script itself.

    Raises:
        ConfigError: An argument has the wrong form.
    """
    if argv is None:
        argv = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    args, remainder = LaunchArguments.parse(argv)
    session = open_session(args)
    session.script_args = remainder
    session.hello()
    return args, remainder
