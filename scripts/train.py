"""Train on many processes.

accelerate launch --config_file configs/accelerate/many-gpus.yaml scripts/train.py RECIPE [training.epochs=3]
"""

from __future__ import annotations

import argparse

import goldloop
from goldloop.training.device import leave_group
from goldloop.wiring import is_main_process


def main() -> None:
    """Train the model of a recipe on the latest version of its dataset."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("recipe", help="a YAML file")
    parser.add_argument("overrides", nargs="*", help="such as training.epochs=3")
    parser.add_argument("--profile", action="store_true", help="find out what a step waits for")
    arguments = parser.parse_args()
    run = goldloop.train(goldloop.load(arguments.recipe, arguments.overrides), profile=arguments.profile)
    if is_main_process():
        print(f"{run.folder}: {run.summary()}")
    leave_group()


if __name__ == "__main__":
    main()
