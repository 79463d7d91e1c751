"""Which fault comes when: from the seed alone, whatever happens in the cluster."""

import random


class Step:
    """One fault to come: its row, and the chances that the row takes its choices from."""

    def __init__(self, row, seed, at):
        self.row = row
        self.key = f"{seed}/{at}"
        self.chance = random.Random(self.key)

    def __eq__(self, other):
        return (self.row, self.key.split("/")[1]) == (other.row, other.key.split("/")[1])


def draw(seed, count, rows):
    """COUNT steps; each row comes once before one comes again."""
    chance = random.Random(f"{seed}")
    steps = []
    while len(steps) < count:
        bag = list(rows)
        chance.shuffle(bag)
        steps += [Step(row, seed, len(steps) + at) for at, row in enumerate(bag)]
    return steps[:count]
