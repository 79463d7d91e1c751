"""The checker of list-append transactions: what was read has to be explained by one order of what was appended.

The order in which a list grew is the longest read of it. In one term that has to hold in every mode; from one term to the
next only where nothing may be lost. Snapshots are of one primary, at repeatable read: write skew is allowed, and not looked for.

  G1a     a value of a transaction that was refused was read
  G1b     a list was read in the middle of another transaction's appends to it
  G1c     transactions depend on each other in a circle
  prefix  two reads of a list contradict each other
  order   a read does not have what was acknowledged before it began. A primary that was replaced by revocation may answer reads
          until its lease ends (docs/guarantees.md): a transaction that wrote nothing may miss what a later term acknowledged,
          for so long and no longer; these are counted. One that wrote may not.
  lost    an acknowledged append is not in the list at the end
"""

import collections

from check import MAY_LOSE, Verdict, acknowledged, some


def appends_of(attempts):
    """value -> (attempt, keys in the order of its appends)."""
    return {one.id: (one, [op[1] for op in one.ops if op[0] == "a"]) for one in attempts if one.ops}


def reads_of(attempts):
    """(attempt, key, list, own appends to the key before the read) of each acknowledged read."""
    for one in acknowledged(attempts):
        lists, own = iter(one.reads), collections.Counter()
        for op in one.ops:
            if op[0] == "a":
                own[op[1]] += 1
            else:
                yield one, op[1], next(lists, []), own[op[1]]


def foreign(one, values, own):
    """The list as it was before the reader's own appends; None when those are not at its end."""
    if own == 0:
        return values
    return values[:-own] if values[-own:] == [one.id] * own and one.id not in values[:-own] else None


def aborted_reads(attempts, by_value):
    for one, key, values, _ in reads_of(attempts):
        for value in values:
            source = by_value.get(value)
            if source is None:
                yield f"G1a: {one} read {value} from {key}, which nobody sent"
            elif source[0].outcome == "fail":
                yield f"G1a: {one} read {value} from {key}, which was refused"


def intermediate_reads(attempts, by_value):
    for one, key, values, _ in reads_of(attempts):
        for value, count in collections.Counter(values).items():
            source = by_value.get(value)
            if value != one.id and source is not None and count != source[1].count(key):
                yield f"G1b: {one} read {count} of {source[1].count(key)} appends of {value} to {key}"


def orders_of(attempts, wrong):
    """key -> the order of its values; contradictions are added to WRONG."""
    orders = collections.defaultdict(list)
    rows = []
    for one, key, values, own in reads_of(attempts):
        values = foreign(one, values, own)
        if values is None:
            wrong.append(f"prefix: {one} does not see its own appends at the end of {key}")
            continue
        rows.append((key, values, one))
        if len(values) > len(orders[key]):
            orders[key] = values
    for key, values, one in rows:
        if orders[key][:len(values)] != values:
            wrong.append(f"prefix: {one} read {key} differently from the longest read")
    return orders


def stale_reads(attempts, by_value):
    """(attempt, key, value, seconds) of each read that lacks an append which was acknowledged so long before it began."""
    acked = collections.defaultdict(list)
    for value, (source, keys) in by_value.items():
        if source.outcome == "ok":
            for key in set(keys):
                acked[key].append((source.end, value))
    for rows in acked.values():
        rows.sort()
    for one, key, values, _ in reads_of(attempts):
        have = set(values)
        for end, value in acked[key]:
            if end >= one.begin:
                break
            if value not in have:
                yield one, key, value, one.begin - end


def is_of_old_primary(reader, source):
    """A transaction that only read, at a server that SOURCE's had replaced."""
    return all(op[0] == "r" for op in reader.ops) and reader.term < source.term


def edges_of(attempts, orders, by_value):
    """transaction -> those that come after it: it appended before them (ww), or they read what it appended (wr)."""
    edges = collections.defaultdict(set)
    for values in orders.values():
        for earlier, later in zip(values, values[1:]):
            if earlier != later:
                edges[earlier].add(later)
    for one, _, values, own in reads_of(attempts):
        values = foreign(one, values, own)
        if values and values[-1] in by_value and values[-1] != one.id:
            edges[values[-1]].add(one.id)
    return edges


def circles(edges):
    """Strongly connected components of more than one transaction (Tarjan's algorithm, without recursion)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []
    for root in list(edges):
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, children = work[-1]
            child = next(children, None)
            if child is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        on_stack.discard(component[-1])
                    if len(component) > 1:
                        found.append(component)
            elif child not in index:
                index[child] = low[child] = len(index)
                stack.append(child)
                on_stack.add(child)
                work.append((child, iter(edges.get(child, ()))))
            elif child in on_stack:
                low[node] = min(low[node], index[child])
    return found


def check_history(attempts, by_value, lease, old):
    """What is wrong with transactions that one order has to explain; reads of an old primary within LEASE seconds go to OLD."""
    wrong = list(intermediate_reads(attempts, by_value))
    orders = orders_of(attempts, wrong)
    for one, key, value, seconds in stale_reads(attempts, by_value):
        if seconds <= lease and is_of_old_primary(one, by_value[value][0]):
            old[one.id] = max(seconds, old.get(one.id, 0.0))
        else:
            wrong.append(f"order: {one} did not read {value} from {key}, acknowledged {seconds * 1000:.0f} ms before")
    wrong += [f"G1c: a circle of {len(one)}: {some(one)}" for one in circles(edges_of(attempts, orders, by_value))]
    return wrong


def lost_appends(by_value, final):
    return [source for value, (source, keys) in sorted(by_value.items())
            if source.outcome == "ok" and any(value not in final.get(key, ()) for key in keys)]


def check_lists(attempts, final, mode, lease):
    """FINAL: key -> list, as the last primary has it, or None. LEASE: seconds for which an old primary may answer reads."""
    if final is None:
        return Verdict("lists", "unknown", "there is no final read")
    if not acknowledged(attempts):
        return Verdict("lists", "unknown", "no transaction was acknowledged")
    everything = appends_of(attempts)
    wrong, old = list(aborted_reads(attempts, everything)), {}
    parts = {one.term for one in acknowledged(attempts)} if mode == MAY_LOSE else {None}
    for term in sorted(parts, key=str):
        part = [one for one in attempts if term is None or one.term in (term, None)]
        # Of an attempt without an outcome the term is not known; only acknowledged ones are looked for in reads.
        own = {value: source for value, source in everything.items() if term is None or source[0].term in (term, None)}
        wrong += check_history(part, own, lease, old)
    lost = lost_appends(everything, final)
    extra = sorted({value for values in final.values() for value in values} - set(everything))
    if extra:
        wrong.append(f"{len(extra)} values were never sent: {some(extra)}")
    if lost and mode != MAY_LOSE:
        wrong.append(f"lost: {len(lost)} acknowledged transactions are not in the lists: {some(lost)}")
    if wrong:
        return Verdict("lists", "fail", f"{len(wrong)} contradictions: " + "; ".join(wrong[:4]))
    text = f"{len(acknowledged(attempts))} transactions, {len(final)} lists, {len(lost)} transactions lost"
    if old:
        text += f", {len(old)} read at an old primary, up to {max(old.values()) * 1000:.0f} ms after another's acknowledgement"
    return Verdict("lists", "loss" if lost else "pass", text)
