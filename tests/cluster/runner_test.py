#!/usr/bin/env python3
"""Does the runner of the cluster tests tell what happened: planted groups, without clusters, side by side.

    tests/cluster/runner_test.py [--planted]     prints "ok runner/NAME" or "FAIL runner/NAME"; or runs the planted groups
"""

import os
import signal
import socket
import subprocess
import sys
import time

import groups
import runner
from cluster import Failure, Skip
from groups import check

LIMIT = 5
PORT = 47111
ROWS = []
EXPECTED = {}  # name of a test -> what its line begins with
runner.GRACE = 3


class Nothing:
    """In the place of a cluster."""

    nodes = ()

    def wait_healthy(self, _seconds):
        pass

    def stop(self):
        print("stopped")


def plant(make, **rows):
    """A group with this maker; its tests by name, each a function and what its result must be."""
    tests = []
    for name, (function, expected) in rows.items():
        def test(made, function=function):
            function(made)
        test.__name__ = name
        tests.append(test)
        EXPECTED["cluster/planted/" + name] = expected
    groups.into(ROWS, "planted")(*tests)(make)


def maker(name, function=Nothing):
    def make():
        return function()
    make.__name__ = name
    return make


def nothing(_made):
    pass


def fail(_made):
    raise Failure("on purpose\nok cluster/planted/a_line_of_the_message")


def skip(_made):
    raise Skip("on purpose")


def say_ok(_made):
    print("ok cluster/planted/nobody_asked_for_this\nok like this\nFAIL neither")


def hang(_made):
    time.sleep(1000)


def hang_deaf(_made):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


def die(_made):
    os.kill(os.getpid(), signal.SIGKILL)


def leave_silently(_made):
    os._exit(0)


def leave_daemon(_made):
    subprocess.Popen(["sleep", "20"], start_new_session=True)


def take_port(_made):
    with socket.create_server(("127.0.0.1", PORT)):
        time.sleep(1)


def crash():
    raise ValueError("on purpose")


class Unstoppable(Nothing):
    def stop(self):
        raise ValueError("on purpose")


plant(maker("good"), good=(nothing, "ok"), also_good=(say_ok, "ok"))
plant(maker("bad"), before_bad=(nothing, "ok"), bad=(fail, "FAIL"), after_bad=(nothing, "ok"), skipped=(skip, "skip"))
plant(maker("bad_begin"), bad_begin=(fail, "FAIL"), not_run=(nothing, "FAIL"))
plant(maker("dead"), before_dead=(nothing, "ok"), dead=(die, "FAIL"), after_dead=(nothing, "FAIL"))
plant(maker("silent"), silent=(leave_silently, "FAIL"))
plant(maker("hung"), before_hung=(nothing, "ok"), hung=(hang, "FAIL"), after_hung=(nothing, "FAIL"))
plant(maker("deaf"), deaf=(hang_deaf, "FAIL"))
plant(maker("crashed", crash), crashed=(nothing, "FAIL"))
plant(maker("cannot", lambda: "on purpose"), cannot=(nothing, "skip"), cannot_either=(nothing, "skip"))
plant(maker("daemon"), daemon=(leave_daemon, "ok"))
plant(maker("unstoppable", Unstoppable), unstoppable=(nothing, "ok"))
plant(maker("port"), port=(take_port, "ok"))
plant(maker("same_port"), same_port=(take_port, "ok"))
EXPECTED["cluster/planted/unstoppable "] = "FAIL"  # the group, in a line of its own


def run_planted(*words):
    return subprocess.run([sys.executable, sys.argv[0], "--planted", *words], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=120)


def is_result(line):
    return line.split(" ", 1)[0] in ("ok", "FAIL", "skip")


def every_test_has_its_result():
    done = run_planted()
    found = sorted(line.split()[:2] for line in done.stdout.splitlines() if is_result(line))
    wanted = sorted([result, name.strip()] for name, result in EXPECTED.items())
    check(found == wanted and done.returncode == 1, f"exit status {done.returncode}, it said:\n{done.stdout}{done.stderr}")
    check(done.stdout.count(": its logs are in ") == 8, f"folders that are kept:\n{done.stdout}")
    for line in done.stdout.splitlines():
        if ": its logs are in " in line:
            os.rmdir(line.split()[-1])


def good_groups_succeed():
    done = run_planted("planted/good", "-bad")
    found = [line for line in done.stdout.splitlines() if is_result(line)]
    check(done.returncode == 0 and len(found) == 2, f"exit status {done.returncode}, it said:\n{done.stdout}{done.stderr}")


def stopped_runner_stops_groups():
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, sys.argv[0], "--planted", "hung"], stdout=subprocess.PIPE, text=True)
    while "before_hung" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    check(process.returncode == 1 and "| stopped" in said, f"exit status {process.returncode}, it said:\n{said}")
    check(time.monotonic() - begin < 60, "it took long")


def main():
    if sys.argv[1:2] == ["--group"]:
        return runner.run_one(ROWS, sys.argv[2], sys.argv[3], sys.argv[4:])
    if sys.argv[1:2] == ["--planted"]:
        return runner.run_all(ROWS, sys.argv[2:], 4, LIMIT)
    failed = 0
    for test in (every_test_has_its_result, good_groups_succeed, stopped_runner_stops_groups):
        try:
            test()
            print(f"ok runner/{test.__name__}", flush=True)
        except Failure as failure:
            failed = 1
            print(f"FAIL runner/{test.__name__} " + str(failure).replace("\n", "\n  | "), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
