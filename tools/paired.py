"""Paired statistics over outputs of `saber eval`: what tools/compare and tools/ablations share."""

import json
import math
import random

METRICS = ("accuracy", "log-likelihood")
DIGITS = (3, 2)  # that are printed of them


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
    """tables: by path."""
    first, *others = tables
    for key in ("split", "queries", "shots", "data_fingerprint", "lvlm"):
        for path in others:
            if tables[path][key] != tables[first][key]:
                raise Unusable(f"{first} and {path} differ in {key}: {tables[first][key]} and {tables[path][key]}")


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


def t_quantile(probability, freedom):
    """Quantile of Student's t, by bisection of its distribution function (Simpson's rule on x = sqrt(f) tan u)."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def above_zero(x, steps=400):
        width = math.atan(x / math.sqrt(freedom)) / steps
        weights = (1 if i in (0, steps) else 4 if i % 2 else 2 for i in range(steps + 1))
        return scale * width / 3 * sum(w * math.cos(i * width) ** (freedom - 1) for i, w in enumerate(weights))

    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if above_zero(middle) < probability - 0.5 else (low, middle)
    return high


def seeds_and_queries(difference):
    """difference: [seed][query]. Mean; 95 % interval; means of the seeds.

    The variance of the mean is that of the seeds' means over S, plus that of the queries' means (over seeds) over n: both
    are samples. Degrees of freedom after Satterthwaite, so that few seeds that differ give a wide interval. With one
    seed the interval is one over queries alone.
    """
    seeds = [mean(of_seed) for of_seed in difference]
    queries = [mean(of_query) for of_query in zip(*difference)]
    value, parts = mean(seeds), []
    for values in (seeds, queries):
        if len(values) > 1:
            parts.append((sum((v - value) ** 2 for v in values) / (len(values) - 1) / len(values), len(values) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return value, (value, value), seeds
    freedom = variance ** 2 / sum(part ** 2 / free for part, free in parts)
    half = t_quantile(0.975, freedom) * math.sqrt(variance)
    return value, (value - half, value + half), seeds
