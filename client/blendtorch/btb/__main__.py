"""`python -m blendtorch.btb [SCENE.blend] [SCRIPT.py] -- ARGS`: see `blendtorch.btb.run`."""

import sys

from .run import main

main(sys.argv[1:])
