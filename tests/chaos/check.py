"""The checkers: each takes histories and what was found at the end, and says what is wrong.

A checker gives a Verdict: "pass", "fail", "loss" (rows are lost, which asynchronous replication may do, and nothing else is
wrong) or "unknown" (nothing is proven, which is never a pass). Each has a planted fault in check_test.py.
"""

import collections

from history import lsn_text

Verdict = collections.namedtuple("Verdict", "checker verdict text")
MAY_LOSE = "async"  # the mode in which an acknowledged row may be lost at a change of the primary


def some(things, count=3):
    things = list(things)
    return ", ".join(str(one) for one in things[:count]) + (", ..." if len(things) > count else "")


def acknowledged(attempts):
    return [one for one in attempts if one.outcome == "ok"]


# --- rows ----------------------------------------------------------------------------------------------------------------

def lost_rows(attempts, final):
    return [one for one in acknowledged(attempts) if one.id not in final]


def holes(attempts, final, lost):
    """Lost rows that a row of the same term outlived which was only begun when they were acknowledged already.

    A log is cut at its end: no change of the primary explains these."""
    newest = {}
    for one in acknowledged(attempts):
        if one.id in final:
            newest[one.term] = max(newest.get(one.term, 0.0), one.begin)
    return [one for one in lost if one.end < newest.get(one.term, 0.0)]


def check_rows(attempts, finals, primary, mode):
    """FINALS: node -> set of ids or None when it could not be read; the primary's was read in a transaction that wrote."""
    final = finals.get(primary)
    if final is None:
        return Verdict("rows", "unknown", "there is no final read of a primary")
    if not acknowledged(attempts):
        return Verdict("rows", "unknown", "no row was acknowledged")
    tried = {one.id for one in attempts}
    refused = {one.id for one in attempts if one.outcome == "fail"}
    lost = lost_rows(attempts, final)
    torn = holes(attempts, final, lost)
    wrong = []
    if final - tried:
        wrong.append(f"{len(final - tried)} rows were never sent: {some(sorted(final - tried))}")
    if final & refused:
        wrong.append(f"{len(final & refused)} refused rows are there: {some(sorted(final & refused))}")
    if torn:
        wrong.append(f"{len(torn)} lost rows are older than rows that are there: {some(torn)}")
    for node, rows in sorted(finals.items()):
        if rows is not None and rows != final:
            wrong.append(f"{node} differs from {primary}: {len(final - rows)} missing, {len(rows - final)} more")
    if lost and mode != MAY_LOSE:
        wrong.append(f"{len(lost)} acknowledged rows are lost: {some(lost)}")
    if wrong:
        return Verdict("rows", "fail", "; ".join(wrong))
    unread = sorted(node for node, rows in finals.items() if rows is None)
    if unread:
        return Verdict("rows", "unknown", f"there is no final read of {', '.join(unread)}")
    counts = collections.Counter(one.outcome for one in attempts)
    text = f"{counts['ok']} acknowledged, {counts['fail']} refused, {counts['unknown']} unknown, {len(lost)} lost"
    return Verdict("rows", "loss" if lost else "pass", text)


# --- two writers ---------------------------------------------------------------------------------------------------------

def terms_of(attempts):
    """[(term, first acknowledgement, last begin of an acknowledged attempt, servers)], by term."""
    terms = {}
    for one in acknowledged(attempts):
        row = terms.setdefault(one.term, [one.end, one.begin, set()])
        row[0] = min(row[0], one.end)
        row[1] = max(row[1], one.begin)
        row[2].add(one.server)
    return [(term, *row) for term, row in sorted(terms.items())]


def overlaps(attempts):
    """[(older term, newer term, seconds)]: an attempt of the older one begun that long after the newer's first answer."""
    found = []
    first_newer = None
    for term, first, last, _ in reversed(terms_of(attempts)):
        if first_newer is not None and last > first_newer[1]:
            found.append((term, first_newer[0], last - first_newer[1]))
        if first_newer is None or first < first_newer[1]:
            first_newer = (term, first)
    return found[::-1]


def check_two_writers(attempts):
    if not acknowledged(attempts):
        return Verdict("two writers", "unknown", "no row was acknowledged")
    wrong = [f"term {old} acknowledged for {seconds * 1000:.1f} ms after term {new} did"
             for old, new, seconds in overlaps(attempts)]
    wrong += [f"term {term} acknowledged at {', '.join(sorted(servers))}"
              for term, _, _, servers in terms_of(attempts) if len(servers) > 1]
    if wrong:
        return Verdict("two writers", "fail", "; ".join(wrong))
    return Verdict("two writers", "pass", f"{len(terms_of(attempts))} terms, one after the other, one server each")


BUCKETS = (0.01, 0.1, 0.5, 1.0, 5.0)


def check_windows(probes, limit):
    """How long two servers took writes of their own at once: at most LIMIT seconds, whatever the mode."""
    if not acknowledged(probes):
        return Verdict("windows", "unknown", "no probe was acknowledged")
    found = overlaps(probes)
    counts = [sum(1 for _, _, seconds in found if low < seconds <= high)
              for low, high in zip((0.0,) + BUCKETS, BUCKETS + (float("inf"),))]
    names = [f"up to {high:g} s" for high in BUCKETS] + [f"over {BUCKETS[-1]:g} s"]
    shown = ", ".join(f"{name}: {count}" for name, count in zip(names, counts) if count) or "none"
    longest = max((seconds for _, _, seconds in found), default=0.0)
    text = f"two writable servers: {shown}" + (f"; longest {longest * 1000:.0f} ms" if found else "")
    return Verdict("windows", "fail" if longest > limit else "pass", text)


# --- positions -----------------------------------------------------------------------------------------------------------

def check_positions(attempts, timeline, switches, mode):
    """Each acknowledged row lies before the end of its timeline: loss found without reading a row.

    SWITCHES: {timeline: its end} of the last primary's ancestors, from its *.history file."""
    rows = acknowledged(attempts)
    if not rows or timeline is None:
        return Verdict("positions", "unknown", "no row was acknowledged, or no history was read")
    newer = [one for one in rows if one.term > timeline]
    if newer:
        return Verdict("positions", "fail", f"{len(newer)} rows have a timeline above the last, {timeline}: {some(newer)}")
    beyond = {}
    for one in rows:
        if one.term != timeline and one.lsn > switches.get(one.term, -1):
            beyond.setdefault(one.term, []).append(one)
    count = sum(len(group) for group in beyond.values())
    text = "; ".join(
        f"timeline {term}: {len(group)} rows behind its end, " +
        (f"up to {max(one.lsn for one in group) - switches[term]} bytes" if term in switches else "given up as a whole")
        for term, group in sorted(beyond.items())) or f"all rows lie before the ends of {len(switches)} timelines"
    if count:
        return Verdict("positions", "loss" if mode == MAY_LOSE else "fail", text)
    return Verdict("positions", "pass", text)


def check_declared(said, switches):
    """What `/history` says, [[timeline, position, ...], ...], is what the server's own file says."""
    if said is None:
        return Verdict("history", "unknown", "the history was not read")
    told = {int(row[0]): int(row[1]) for row in said}
    wrong = [f"timeline {line}: ends at {lsn_text(at)}, it says {lsn_text(told[line]) if line in told else 'nothing'}"
             for line, at in sorted(switches.items()) if told.get(line) != at]
    wrong += [f"timeline {line} is not an ancestor" for line in sorted(told) if line not in switches]
    if wrong:
        return Verdict("history", "fail", some(wrong))
    return Verdict("history", "pass", f"it names the {len(switches)} switches that the server has")


# --- availability and the end --------------------------------------------------------------------------------------------

def pause_after(attempts, at):
    """(longest pause between acknowledgements that ends after `at`, when a transaction begun after `at` was acknowledged)."""
    ends = sorted(one.end for one in acknowledged(attempts))
    gaps = [later - earlier for earlier, later in zip(ends, ends[1:]) if later >= at]
    first = min((one.end for one in acknowledged(attempts) if one.begin >= at), default=None)
    return max(gaps, default=None), None if first is None else first - at


def check_availability(attempts, healed, budget):
    """HEALED: [(name, when nothing stood in the way any more)]: writes go on within BUDGET seconds after each."""
    ends = sorted(one.end for one in acknowledged(attempts))
    if len(ends) < 2:
        return Verdict("availability", "unknown", "fewer than two rows were acknowledged")
    wrong = []
    for name, at in healed:
        _, writable = pause_after(attempts, at)
        if writable is None or writable > budget:
            wrong.append(f"{name}: " + ("no row after it" if writable is None else f"{writable:.1f} s until a row"))
    gap = max(later - earlier for earlier, later in zip(ends, ends[1:]))
    if wrong:
        return Verdict("availability", "fail", "; ".join(wrong))
    return Verdict("availability", "pass", f"longest pause {gap:.2f} s, {len(ends)} rows in {ends[-1] - ends[0]:.0f} s")


def check_convergence(states):
    """STATES: node -> (role, timeline, streams)."""
    if not states:
        return Verdict("convergence", "unknown", "no node was asked")
    primaries = [name for name, (role, _, _) in sorted(states.items()) if role == "primary"]
    lines = {line for _, line, _ in states.values()}
    idle = [name for name, (role, _, streams) in sorted(states.items()) if role != "primary" and not streams]
    wrong = []
    if len(primaries) != 1:
        wrong.append(f"{len(primaries)} primaries")
    if len(lines) != 1:
        wrong.append(f"timelines {some(sorted(lines, key=str))}")
    if idle:
        wrong.append(f"{', '.join(idle)} does not stream")
    if wrong:
        return Verdict("convergence", "fail", "; ".join(wrong))
    return Verdict("convergence", "pass", f"{primaries[0]} leads on timeline {lines.pop()}, the others stream")
