"""What the processes that `command_line.script` forks have imported already."""
# ruff: noqa: F401, I001

import gc

import torch  # before JAX
import matplotlib.figure
import torch._dynamo  # as the first optimizer does

import rnn_jax.backend
import rnn_torch.backend
import shared.commands.compare
import shared.commands.run
import shared.report.console
import shared.report.prediction_plots
import shared.report.comparison_page
import shared.training.seeds

gc.collect()
gc.freeze()  # the collector would touch, and so copy, all of it in each child
