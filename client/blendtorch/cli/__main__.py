"""`python -m blendtorch.cli`: the `blendtorch` command."""

import sys

from . import main

sys.exit(main())
