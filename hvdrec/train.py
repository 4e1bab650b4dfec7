"""Trains a model: ``python -m hvdrec.launch local -np N --pipeline_config_path X.config``."""

from __future__ import annotations

import sys

from hvdrec.commands.main import main
from hvdrec.config.flags import TrainFlags, load_for_training, parse_train
from hvdrec.parallel import keeper
from hvdrec.parallel.cluster import asks_for_servers, quieten


def run(flags: TrainFlags) -> None:
    """Trains with the given flags on the ranks this process belongs to."""
    # TensorFlow takes seconds to import: mistakes in flags and config are reported before that.
    config = load_for_training(flags)
    if flags.check_mode:
        from hvdrec.commands.check import check

        check(config, flags)
        return
    if keeper.is_wanted():
        from hvdrec.launcher.keeper import become_keeper

        become_keeper(sys.argv[1:])
    keeper.end_with_keeper()
    if asks_for_servers(config.proto.train_config):
        quieten(flags.verbose)
        from hvdrec.commands.train_on_servers import train_on_servers

        train_on_servers(config, flags)
        return
    from hvdrec.commands.train import train

    train(config, flags)


if __name__ == "__main__":
    sys.exit(main(parse_train, run, sys.argv[1:]))
