"""`python -m mallocgame`: the command `mallocgame`, where its script is not on the path."""

import sys

from mallocgame.command.main import main

if __name__ == "__main__":
    sys.exit(main())
