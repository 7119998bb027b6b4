"""`mallocgame evaluate` for a clone: `python evaluate.py --suite tpu_v4_sample --out DIR`."""

import sys

from agent.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main(program="evaluate.py"))
