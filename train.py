"""`mallocgame train` for a clone: `python train.py --config configs/X.yaml [key.sub=value ...]`."""

import sys

from agent.commands.train import main

if __name__ == "__main__":
    sys.exit(main(program="train.py"))
