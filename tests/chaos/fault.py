"""What a row of the table of faults is, and what the rows have in common.

A row's function makes the fault, holds it, and undoes it; World.heal undoes what it left. It takes its choices from
step.chance only, so that a seed gives the same ones again, and raises Failure when what must not happen did.
"""

import json
import os
import signal
import subprocess
import time

from cluster import Failure, send_signal
from world import moment

SYNC = ("sync", "quorum", "strict", "quorum-strict")
ANY = ("async",) + SYNC

ROWS = []


class Row:
    """`failovers`: how many new timelines the fault may cause; 0 also means that no acknowledged row may be lost by it.

    `is_beyond`: nothing is promised under it; it is made only when it is asked for, to see that the checkers find it."""

    def __init__(self, code, run, failovers, invariants, needs=(), modes=ANY, lossless=False, is_beyond=False):
        self.code, self.run, self.failovers, self.invariants = code, run, failovers, invariants
        self.needs, self.modes = frozenset(needs), modes
        self.lossless = lossless or failovers == 0
        self.is_beyond = is_beyond
        self.name = f"{code} {run.__name__.replace('_', '-')}"
        self.title = (run.__doc__ or "").split("\n")[0]


def row(code, failovers, invariants, **more):
    def add(function):
        ROWS.append(Row(code, function, failovers, invariants.split(), **more))
        return function
    return add


def check(condition, what):
    if not condition:
        raise Failure(what)


def signal_all(pids, number):
    for pid in pids:
        send_signal(pid, number)
    return pids


def stop(pids):
    return signal_all(pids, signal.SIGSTOP)


def resume(pids):
    return signal_all(pids, signal.SIGCONT)


def log_end(node):
    return os.path.getsize(node.log) if os.path.exists(node.log) else 0


def log_since(node, position):
    with open(node.log, "rb") as file:
        file.seek(position)
        return file.read().decode("utf-8", "replace")


def watch(seconds, condition, pause=0.005):
    """The first true value of a condition within so many seconds, or None."""
    end = moment() + seconds
    while moment() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    return None


def any_node(w, step):
    return step.chance.choice(w.nodes)


def pick(w, step, *roles):
    """The primary or a standby, by chance among the roles that are named."""
    role = step.chance.choice(roles)
    node = w.primary() if role == "primary" else w.standbys(step.chance)[0]
    w.say(f"{role} {node.name}")
    return node


def store_leader(w):
    """The node whose member leads the agents' own store; None: nobody, or the store is not theirs."""
    for node in [] if w.store else w.nodes:
        said = json.loads(node.call("GET", "/baton/store/members")[1] or "{}")
        for one in said.get("members", []):
            if one.get("state") == "leader":
                w.say(f"the store's leader is {one['name']}")
                return w.cluster.node(one["name"])
    return None


def victim(w):
    node = w.primary()
    w.say(f"primary {node.name}")
    return node


def quiet(w, seconds, what):
    """No row is acknowledged for so long."""
    before = w.acks()
    w.hold(seconds)
    check(w.acks() == before, f"{w.acks() - before} rows were acknowledged {what}")


def switchover(w, leader, candidate):
    return leader.run(w.cluster.baton, "switchover", "-c", leader.config, "--leader", leader.name, "--candidate",
                      candidate.name, "--force", seconds=60)


def start_switchover(w, leader, candidate):
    return w.spawn(leader.inside() + [w.cluster.baton, "switchover", "-c", leader.config, "--leader", leader.name,
                                      "--candidate", candidate.name, "--force"])


def strace(w, pids, *inject):
    """Let system calls of running processes fail or wait, until w.heal or the end of the process that is returned."""
    words = ["strace", "-f", "-q", "-o", "/dev/null"]
    for pid in pids:
        words += ["-p", str(pid)]
    for one in inject:
        words += ["-e", one]
    process = w.spawn(words)
    time.sleep(0.3)
    check(process.poll() is None, "strace cannot attach")
    return process


def end_of(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
