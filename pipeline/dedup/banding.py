"""How many bands of how many rows: the S-curve (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).

Two documents of Jaccard s meet in at least one bucket with probability 1 - (1 - s^rows)^bands. More rows in a band let
fewer unlike documents meet, more bands find more of the like ones.
"""


def collision_probability(jaccard: float, bands: int, rows: int) -> float:
    """Probability that two documents of this Jaccard similarity share at least one bucket."""
    return 1.0 - (1.0 - jaccard**rows) ** bands


def s_curve(bands: int, rows: int) -> list[tuple[float, float]]:
    """(jaccard, probability) for 0, 0.05, ... 1."""
    return [(step / 20, collision_probability(step / 20, bands, rows)) for step in range(21)]


def choose_banding(threshold: float, recall: float, permutations: int) -> tuple[int, int]:
    """(bands, rows): the most rows, hence the fewest pairs verified in vain, with which as many bands as fit into the
    permutations find pairs at the threshold with at least this probability. 0.8, 0.99, 120 gives 20 x 6 (0.9977).

    Raises ValueError where not even bands of one row reach it.
    """
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if collision_probability(threshold, bands, rows) >= recall:
            return bands, rows
    reached = collision_probability(threshold, permutations, 1)
    raise ValueError(
        f"{permutations} permutations find pairs at threshold {threshold:g} with probability {reached:.4g} at best, "
        f"less than recall = {recall:g}; raise permutations or lower recall"
    )
