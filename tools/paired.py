"""Paired statistics over outputs of `saber eval`: what tools/compare and tools/ablations share."""

import json
import random

METRICS = ("accuracy", "log-likelihood")


class Unusable(Exception):
    """A file that cannot be compared, and why."""


def read(path):
    """The table in `path`, and of each row (correct, log-likelihoods), one value per query, None where it failed."""
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
        rows = {row["name"]: row for row in table["rows"]}
        return table, {name: (row["correct"], row["log_likelihoods"]) for name, row in rows.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"{path}: is no output of saber eval ({error!r})") from error


def require_same(tables):
    for key in ("split", "queries", "shots", "data_fingerprint", "lvlm"):
        if len({table[key] for table in tables}) > 1:
            raise Unusable(f"the files differ in {key}: {', '.join(str(table[key]) for table in tables)}")


def complete(columns):
    """Queries, as positions, on which nothing failed."""
    return [q for q in range(len(columns[0])) if all(values[q] is not None for values in columns)]


def mean(values):
    return sum(values) / len(values)


def resamples(count, samples, seed=1):
    """Bootstrap samples of positions 0 .. count - 1."""
    draws = random.Random(seed)
    return [draws.choices(range(count), k=count) for _ in range(samples)]


def interval(values):
    """Of bootstrapped values, the 95 % percentile interval."""
    values = sorted(values)
    return values[int(0.025 * len(values))], values[min(len(values) - 1, int(0.975 * len(values)))]
