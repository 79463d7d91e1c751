#!/usr/bin/env python3
"""Each checker passes a clean history and fails on one with a planted fault. One line a test: "ok chaos/NAME" or "FAIL ...".

Histories are written as the writer writes them, one word an attempt:  begin-end outcome id@server/term:lsn
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check
import history
import lists
import schedule


def rows(*words):
    """Attempts from "10-11 ok 1@n1/1:100"; seconds, and positions in hexadecimal."""
    lines = []
    for word in words:
        times, outcome, rest = word.split()
        begin, end = times.split("-")
        number, _, place = rest.partition("@")
        server, _, term = place.partition("/")
        term, _, lsn = term.partition(":")
        lines.append((float(begin), f"try {number} {server}"))
        if outcome != "none":
            tail = f"{int(term or 1):08X} 0/{lsn or '10'}" if outcome == "ok" else "25006"
            lines.append((float(end), f"{outcome} {number} {server} {tail}"))
    return history.parse(f"{int(at * 1e9)} {text}\n" for at, text in sorted(lines))


def transactions(*words):
    """Attempts from "10-11 ok 1/1 a:5 r:5=1,2"; the value of an append is the id."""
    lines = []
    for word in words:
        times, outcome, place, *ops = word.split()
        begin, end = times.split("-")
        number, _, term = place.partition("/")
        named = [f"{op}:{number}" if op[0] == "a" else op.split("=")[0] for op in ops]
        reads = [op.split("=")[1] or "-" for op in ops if op[0] == "r"]
        lines.append((float(begin), f"try {number} n1 {' '.join(named)}"))
        if outcome != "none":
            tail = f"{int(term or 1):08X} {' '.join(reads)}" if outcome == "ok" else "40001"
            lines.append((float(end), f"{outcome} {number} n1 {tail}"))
    return history.parse(f"{int(at * 1e9)} {text}\n" for at, text in sorted(lines))


CLEAN = ("1-2 ok 1@n1/1:10", "2.1-3 ok 2@n1/1:20", "3-4 fail 3@n2", "4-6 unknown 4@n1", "5-6 none 5@n1",
         "7-8 ok 6@n2/2:40", "8-9 ok 7@n2/2:50")
THERE = {1, 2, 4, 6, 7}


def judge_rows(there=None, words=CLEAN, mode="sync", others=None, primary="n2"):
    there = THERE if there is None else there
    return check.check_rows(rows(*words), {"n1": there, "n2": there, **(others or {})}, primary, mode)


ROWS = [
    ("clean", "pass", lambda: judge_rows()),
    ("lost", "fail", lambda: judge_rows(THERE - {2})),
    ("lost, asynchronous, at a change of the primary", "loss", lambda: judge_rows(THERE - {2}, mode="async")),
    ("lost in the middle, asynchronous", "fail", lambda: judge_rows(THERE - {1}, mode="async")),
    ("a row that nobody sent", "fail", lambda: judge_rows(THERE | {9})),
    ("a refused row is there", "fail", lambda: judge_rows(THERE | {3})),
    ("a standby lacks a row", "fail", lambda: judge_rows(others={"n3": THERE - {7}})),
    ("a standby was not read", "unknown", lambda: judge_rows(others={"n3": None})),
    ("a lost row is worse than a standby that was not read", "fail",
     lambda: judge_rows(THERE - {2}, others={"n3": None})),
    ("no final read", "unknown", lambda: judge_rows(others={"n2": None})),
    ("nothing was acknowledged", "unknown", lambda: judge_rows(set(), ["1-2 unknown 1@n1"])),
    ("an unknown row may be there or not", "pass", lambda: judge_rows(THERE - {4} | {5})),
]

WRITERS = [
    ("clean", "pass", lambda: check.check_two_writers(rows(*CLEAN))),
    ("the old one acknowledges what was begun after the new one did", "fail",
     lambda: check.check_two_writers(rows(*CLEAN, "8.5-9 ok 8@n1/1:30"))),
    ("in flight while the new one began", "pass", lambda: check.check_two_writers(rows(*CLEAN, "7-9 ok 8@n1/1:30"))),
    ("over two changes", "fail",
     lambda: check.check_two_writers(rows("1-2 ok 1@n1/1", "3-4 ok 2@n2/2", "5-6 ok 3@n3/3", "7-8 ok 4@n1/1"))),
    ("one term, two servers", "fail", lambda: check.check_two_writers(rows(*CLEAN, "9-10 ok 8@n3/2:60"))),
    ("nothing was acknowledged", "unknown", lambda: check.check_two_writers(rows("1-2 fail 1@n1"))),
    ("windows: none", "pass", lambda: check.check_windows(rows(*CLEAN), 1.0)),
    ("windows: short", "pass", lambda: check.check_windows(rows(*CLEAN, "8.5-9 ok 8@n1/1"), 1.0)),
    ("windows: too long", "fail", lambda: check.check_windows(rows(*CLEAN, "10-11 ok 8@n1/1"), 1.0)),
    ("windows: no probe", "unknown", lambda: check.check_windows([], 1.0)),
]

SWITCHES = {1: 0x30}

POSITIONS = [
    ("clean", "pass", lambda: check.check_positions(rows(*CLEAN), 2, SWITCHES, "sync")),
    ("behind the end", "fail", lambda: check.check_positions(rows(*CLEAN, "2-3 ok 8@n1/1:31"), 2, SWITCHES, "sync")),
    ("behind the end, asynchronous", "loss",
     lambda: check.check_positions(rows(*CLEAN, "2-3 ok 8@n1/1:31"), 2, SWITCHES, "async")),
    ("a timeline that was given up", "fail", lambda: check.check_positions(rows(*CLEAN), 3, {1: 0x30}, "sync")),
    ("a timeline above the last", "fail", lambda: check.check_positions(rows(*CLEAN), 1, {}, "async")),
    ("no history", "unknown", lambda: check.check_positions(rows(*CLEAN), None, {}, "sync")),
    ("declared: the same", "pass", lambda: check.check_declared([[1, 0x30, "no reason"]], SWITCHES)),
    ("declared: another end", "fail", lambda: check.check_declared([[1, 0x31, "no reason"]], SWITCHES)),
    ("declared: nothing", "fail", lambda: check.check_declared([], SWITCHES)),
    ("declared: one more", "fail", lambda: check.check_declared([[1, 0x30], [2, 0x50]], SWITCHES)),
    ("declared: not read", "unknown", lambda: check.check_declared(None, SWITCHES)),
]

GOOD = {"n1": ("replica", 2, True), "n2": ("primary", 2, False), "n3": ("replica", 2, True)}

ENDS = [
    ("availability: clean", "pass", lambda: check.check_availability(rows(*CLEAN), [("kill", 4)], 5)),
    ("availability: late", "fail", lambda: check.check_availability(rows(*CLEAN), [("kill", 4)], 3)),
    ("availability: never", "fail", lambda: check.check_availability(rows(*CLEAN), [("kill", 8.5)], 5)),
    ("availability: no rows", "unknown", lambda: check.check_availability([], [], 5)),
    ("convergence: clean", "pass", lambda: check.check_convergence(GOOD)),
    ("convergence: two primaries", "fail", lambda: check.check_convergence({**GOOD, "n1": ("primary", 2, False)})),
    ("convergence: no primary", "fail", lambda: check.check_convergence({**GOOD, "n2": ("replica", 2, True)})),
    ("convergence: another timeline", "fail", lambda: check.check_convergence({**GOOD, "n3": ("replica", 1, True)})),
    ("convergence: one does not stream", "fail", lambda: check.check_convergence({**GOOD, "n3": ("replica", 2, False)})),
    ("convergence: nobody was asked", "unknown", lambda: check.check_convergence({})),
]

APPENDS = ("1-2 ok 1/1 a:5 r:5=1", "2-3 ok 2/1 r:5=1 a:5 a:5", "3-4 ok 3/1 r:5=1,2,2 a:6", "4-5 fail 4 a:6",
           "5-6 unknown 9 a:6", "6-7 ok 7/1 r:5=1,2,2 r:6=3,9")
LISTS = {5: [1, 2, 2], 6: [3, 9]}
NEWER = {5: [1, 2, 2, 8], 6: [3, 9], 7: [10]}


def judge(*more, final=None, mode="sync", words=APPENDS):
    return lists.check_lists(transactions(*words, *more), LISTS if final is None else final, mode, 5)


ELLE = [
    ("clean", "pass", lambda: judge()),
    ("G1a: refused", "fail", lambda: judge("7-8 ok 8/1 r:6=3,9,4")),
    ("G1a: never sent", "fail", lambda: judge("7-8 ok 8/1 r:6=3,9,77")),
    ("G1b", "fail", lambda: judge("2-3 ok 8/1 r:5=1,2")),
    ("G1c", "fail", lambda: judge(
        words=("1-3 ok 1/1 a:5 r:6=2", "1-3 ok 2/1 a:6 r:5=1"), final={5: [1], 6: [2]})),
    ("write skew is allowed", "pass", lambda: judge(
        words=("1-3 ok 1/1 r:6= a:5", "1-3 ok 2/1 r:5= a:6"), final={5: [1], 6: [2]})),
    ("prefix", "fail", lambda: judge("2.5-8 ok 8/1 r:6=9,3")),
    ("own append not seen", "fail", lambda: judge("7-8 ok 8/1 a:7 r:7=", final={**LISTS, 7: [8]})),
    ("order", "fail", lambda: judge("7-8 ok 8/1 r:5=1")),
    ("read at an old primary", "pass", lambda: judge("4-5 ok 8/2 a:5", "7-8 ok 10/1 r:5=1,2,2", final=NEWER)),
    ("read at an old primary after its lease", "fail", lambda: judge("4-5 ok 8/2 a:5", "11-12 ok 10/1 r:5=1,2,2", final=NEWER)),
    ("read at an old primary, and wrote", "fail", lambda: judge("4-5 ok 8/2 a:5", "7-8 ok 10/1 r:5=1,2,2 a:7", final=NEWER)),
    ("stale read at the newest primary", "fail", lambda: judge("4-5 ok 8/2 a:5", "7-8 ok 10/2 r:5=1,2,2", final=NEWER)),
    ("lost", "fail", lambda: judge(final={5: [1, 2, 2], 6: [9]})),
    ("lost, asynchronous", "loss", lambda: judge(final={5: [1, 2, 2], 6: [9]}, mode="async")),
    ("two orders in two terms, asynchronous", "loss", lambda: judge(
        "8-9 ok 8/2 r:6=9 a:6", final={5: [1, 2, 2], 6: [9, 8]}, mode="async")),
    ("two orders in two terms", "fail", lambda: judge("8-9 ok 8/2 r:6=9 a:6", final={5: [1, 2, 2], 6: [9, 8]})),
    ("a value at the end that nobody sent", "fail", lambda: judge(final={**LISTS, 8: [88]}, mode="async")),
    ("no final read", "unknown", lambda: lists.check_lists(transactions(*APPENDS), None, "sync", 5)),
    ("nothing was acknowledged", "unknown", lambda: judge(words=("1-2 fail 1 a:5",))),
]


def raises(lines):
    try:
        history.parse(lines)
    except (ValueError, KeyError):
        return "refused"
    return "taken"


FILES = [
    ("an id is used twice", "refused", lambda: raises(["1 try 1 n1\n", "2 try 1 n1\n"])),
    ("two outcomes", "refused", lambda: raises(["1 try 1 n1\n", "2 fail 1 n1 x\n", "3 ok 1 n1 00000001 0/1\n"])),
    ("an outcome without an attempt", "refused", lambda: raises(["2 fail 1 n1 x\n"])),
    ("the end is cut", "unknown", lambda: history.parse(["1 try 1 n1\n", "2 ok 1 n1 0000"])[0].outcome),
    ("no outcome", "unknown", lambda: history.parse(["1 try 1 n1\n"])[0].outcome),
    ("switches", {1: 0x30, 2: (1 << 32) + 5}, lambda: history.parse_switches("1\t0/30\tx\n\n2\t1/5\tno reason\n")),
]

SCHEDULE = [
    ("the same seed, the same faults", True, lambda: schedule.draw(7, 20, ["a", "b", "c"]) == schedule.draw(7, 20, ["a", "b", "c"])),
    ("another seed, other faults", True, lambda: schedule.draw(7, 20, ["a", "b", "c"]) != schedule.draw(8, 20, ["a", "b", "c"])),
    ("each row before one comes again", True, lambda: sorted(one.row for one in schedule.draw(7, 3, ["a", "b", "c"])) == ["a", "b", "c"]),
]


def main():
    failed = 0
    for group, cases in (("rows", ROWS), ("writers", WRITERS), ("positions", POSITIONS), ("ends", ENDS), ("lists", ELLE),
                         ("files", FILES), ("schedule", SCHEDULE)):
        for name, wanted, run in cases:
            got = run()
            verdict = got.verdict if isinstance(got, check.Verdict) else got
            if verdict == wanted:
                print(f"ok chaos/{group}: {name}")
            else:
                failed += 1
                print(f"FAIL chaos/{group}: {name}: {verdict}, not {wanted}: {got}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
