"""Report of a small task, in both frameworks, from one seed or several."""

from dataclasses import replace
from pathlib import Path

from shared.config.data import GeneratedData
from shared.config.settings import NetworkConfig
from shared.report import write_report
from shared.report.comparison_page import HTML
from shared.runs import read_run
from shared.runs.seeds import run_folders, save_seeds, seed_folder
from shared.tasks import TASKS
from shared.training import train

NAMES = ["jax handcrafted", "torch handcrafted", "torch native"]


def reported(folder: Path, seeds: tuple[int, ...]) -> Path:
    """The page of a small task with a validation part, trained in both frameworks."""
    base = replace(
        TASKS["last-value"].defaults, network=NetworkConfig(hidden_size=4), epochs=3, batch_size=8,
        precision="float64", data=GeneratedData(40, 16, 16, 5, 3),
    )  # fmt: skip
    folders = []
    for name in NAMES:
        backend, implementation = name.split()
        own = folder / name.replace(" ", "-")
        for seed in seeds:
            config = replace(base, backend=backend, implementation=implementation, seed=seed)
            where = seed_folder(own, seed) if len(seeds) > 1 else own
            train(config, where, quiet=True)
        if len(seeds) > 1:
            save_seeds(own, seeds, base)
        folders.append(own)
    runs = [read_run(one) for one in run_folders(folders)]
    write_report(runs, folder / "report", "python scripts/compare.py --task last-value")
    return folder / "report" / HTML
