"""What the processes that `command_line.script` forks have imported already."""
# ruff: noqa: F401, I001

import gc

import torch  # before JAX
import matplotlib.figure
import torch._dynamo  # as the first optimizer does

import rnn_jax.backend
import rnn_torch.backend
import shared.cli
import shared.console
import shared.pictures
import shared.report
import shared.seed_training

gc.collect()
gc.freeze()  # the collector would touch, and so copy, all of it in each child
