"""The histories that baton-writer keeps (its head says how), as attempts; and what a server's *.history files say."""

import glob
import os

INFINITE = float("inf")
OUTCOMES = ("ok", "fail", "unknown")


class Attempt:
    """One transaction that a client tried: from `begin` to `end`, seconds on CLOCK_MONOTONIC_RAW."""

    __slots__ = ("id", "server", "begin", "end", "outcome", "why", "term", "lsn", "ops", "reads")

    def __init__(self, number, server, begin):
        self.id, self.server, self.begin = number, server, begin
        self.end, self.outcome, self.why = INFINITE, "unknown", "no outcome"
        self.term = self.lsn = None
        self.ops = []    # lists: ("r", key) or ("a", key, value)
        self.reads = []  # lists: one list a read, when it was acknowledged

    def __repr__(self):
        return f"{self.id >> 40}/{self.id & ((1 << 40) - 1)} at {self.server} ({self.outcome}, term {self.term})"


def lsn_number(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(number):
    return f"{number >> 32:X}/{number & 0xffffffff:08X}"


def parse_op(word):
    parts = word.split(":")
    return (parts[0],) + tuple(int(part) for part in parts[1:])


def parse(lines):
    """Attempts in the order of their beginnings; ValueError for a line that a writer cannot have written.

    A last line without its end is a writer that was killed: what it says is left out, which makes the outcome unknown."""
    attempts = {}
    for line in lines:
        if not line.endswith("\n"):
            break
        words = line.split()
        at, kind, number, server, rest = int(words[0]) / 1e9, words[1], int(words[2]), words[3], words[4:]
        if kind == "try":
            if number in attempts:
                raise ValueError(f"id {number} is used twice")
            attempts[number] = Attempt(number, server, at)
            attempts[number].ops = [parse_op(word) for word in rest]
            continue
        attempt = attempts[number]
        if kind not in OUTCOMES or attempt.end != INFINITE:
            raise ValueError(f"cannot be: {line.strip()}")
        attempt.end, attempt.outcome = at, kind
        if kind != "ok":
            attempt.why = rest[0]
            continue
        attempt.why = ""
        attempt.term = int(rest[0], 16)
        if attempt.ops:
            attempt.reads = [[] if text == "-" else [int(one) for one in text.split(",")] for text in rest[1:]]
        else:
            attempt.lsn = lsn_number(rest[1])
    return sorted(attempts.values(), key=lambda one: one.begin)


def read(path):
    with open(path, encoding="ascii") as file:
        return parse(file)


def read_all(paths):
    return sorted((one for path in paths for one in read(path)), key=lambda one: one.begin)


def parse_switches(text):
    """{timeline: where the next one begins} of a *.history file."""
    switches = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[0].isdigit():
            switches[int(words[0])] = lsn_number(words[1])
    return switches


def newest_switches(wal_folder):
    """(timeline, switches) of the newest history file in a folder of log; (1, {}) when there is none."""
    paths = sorted(glob.glob(os.path.join(wal_folder, "*.history")))
    if not paths:
        return 1, {}
    with open(paths[-1], encoding="utf-8") as file:
        return int(os.path.basename(paths[-1])[:8], 16), parse_switches(file.read())
