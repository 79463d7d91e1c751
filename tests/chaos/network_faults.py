"""N: the wires between hosts. Cuts are nft rules in the namespace of one host, slow wires are token buckets."""

import subprocess

from fault import check, pick, quiet, row, stop, store_leader, victim

STORE = "{2379, 2380}"


def peers(w, node):
    """The other nodes, and the host of an external store."""
    return w.others_of(node) + ([w.store] if w.store else [])


@row("N1", 1, "I1 I2 I5")
def primary_isolated(w, step):
    """Nothing reaches the primary, and nothing leaves it."""
    node = victim(w)
    node.cut("in drop", "out drop")
    w.hold(w.ttl + step.chance.uniform(2, 8))
    node.mend()


@row("N1b", 0, "I7")
def standby_isolated(w, step):
    """Nothing reaches a standby for a while."""
    node = pick(w, step, "standby")
    node.cut("in drop", "out drop")
    w.hold(w.ttl + step.chance.uniform(2, 5))
    node.mend()


@row("N2", 1, "I1 I2 I9")
def primary_cut_from_peers(w, step):
    """The primary is cut from the other nodes and the store; clients still reach it."""
    node = victim(w)
    node.cut_from(*peers(w, node))
    w.hold(w.ttl + step.chance.uniform(2, 8))
    node.mend()


@row("N3", 1, "I1 I2")
def primary_cut_from_store(w, step):
    """The primary is cut from the store alone; its standbys go on streaming."""
    node = victim(w)
    if w.store:
        node.cut_from(w.store)
    else:
        node.cut(*[f"{way} tcp {end} {STORE} drop" for way in ("in", "out") for end in ("sport", "dport")])
    w.hold(w.ttl + step.chance.uniform(2, 8))
    node.mend()


@row("N4", 0, "I1 I7")
def replication_cut(w, step):
    """Only the database port is cut between the primary and its standbys."""
    node = victim(w)
    for other in w.others_of(node):
        other.cut_from(node, what="tcp dport 5432", way="out")
        w.say(other.name)
    w.hold(step.chance.uniform(5, 9))
    for other in w.others_of(node):
        other.mend()


@row("N5", 1, "I2 I5")
def one_way_wire(w, step):
    """A node can send and hears nothing, or hears and cannot be heard."""
    node = pick(w, step, "primary", "primary", "standby")
    way = step.chance.choice(["in", "out"])
    w.say(f"dropped: {way}")
    node.cut(f"{way} drop")
    w.hold(w.ttl + step.chance.uniform(2, 6))
    node.mend()


@row("N6", 0, "I5 I8")
def standbys_cut_from_each_other(w, step):
    """The two standbys do not reach each other; the primary reaches both."""
    one, other = w.standbys()
    one.cut_from(other)
    w.hold(w.ttl + step.chance.uniform(2, 5))
    one.mend()


@row("N7", 1, "I5 I8")
def bridge_node(w, step):
    """The primary and one standby do not reach each other; the other standby reaches both."""
    one = pick(w, step, "standby")
    w.primary().cut_from(one)
    w.hold(w.ttl + step.chance.uniform(2, 8))


@row("N8", 1, "I1 I2 I5")
def minority_with_clients(w, step):
    """The primary is alone with the clients; the majority has none."""
    node = victim(w)
    node.cut_from(*peers(w, node))
    for other in w.others_of(node):
        other.cut_from(w.clients)
    w.hold(w.ttl + step.chance.uniform(3, 8))


@row("N9", 1, "I2", needs=["own"])
def no_majority(w, step):
    """One node stands still, the other two do not reach each other: nobody writes."""
    frozen = pick(w, step, "standby")
    stop(frozen.all_pids())
    node = next(one for one in w.nodes if one.is_primary())
    node.cut_from(*w.others_of(node))
    w.hold(w.ttl + 2)
    quiet(w, step.chance.uniform(2, 4), "without a majority")


@row("N10", 2, "I7")
def flapping_wire(w, step):
    """The primary's wire comes and goes every one to three seconds."""
    node = victim(w)
    for _ in range(4):
        node.cut("in drop", "out drop")
        w.hold(step.chance.uniform(1, 3))
        node.mend()
        w.hold(step.chance.uniform(1, 3))


@row("N11", 1, "I7 I5")
def packet_loss(w, step):
    """Three of ten packets are lost on the primary's wire."""
    node = pick(w, step, "primary", "standby")
    node.cut("in numgen random mod 100 < 30 drop", "out numgen random mod 100 < 30 drop")
    w.hold(12)
    node.mend()


@row("N12", 1, "I5 I9")
def half_open(w, step):
    """All connections that a node has over its wire go silent; new ones work."""
    node = pick(w, step, "primary", "standby")
    said = subprocess.run(node.inside() + ["ss", "-Htn", "state", "established"], capture_output=True, text=True,
                          check=True).stdout
    rules = []
    for line in said.splitlines():
        here, there = line.split()[2:4]
        if there.rsplit(":", 1)[0] == node.host:
            continue
        host, port = there.rsplit(":", 1)
        own = here.rsplit(":", 1)[1]
        rules += [f"in ip saddr {host} tcp sport {port} tcp dport {own} drop",
                  f"out ip daddr {host} tcp dport {port} tcp sport {own} drop"]
    check(rules, "there is no connection")
    w.say(f"{len(rules) // 2} connections")
    node.cut(*rules)
    w.hold(w.ttl + step.chance.uniform(4, 9))
    node.mend()


@row("N13", 1, "I5 I9")
def no_new_connections(w, step):
    """New connections to and from a node are dropped; old ones live."""
    node = pick(w, step, "primary", "standby")
    node.cut("in ct state new drop", "out ct state new drop")
    w.hold(w.ttl + step.chance.uniform(2, 5))
    node.mend()


@row("N14", 2, "I7 I10")
def reset_storm(w, step):
    """One packet in ten that reaches a node is answered with a reset."""
    node = pick(w, step, "primary", "standby")
    node.cut("in ip protocol tcp numgen random mod 100 < 10 reject with tcp reset")
    w.hold(10)
    node.mend()


@row("N15", 1, "I5")
def large_packets_lost(w, step):
    """Packets of more than 600 bytes do not pass."""
    node = pick(w, step, "primary", "standby")
    node.cut("in meta length > 600 drop", "out meta length > 600 drop")
    w.hold(w.ttl + step.chance.uniform(3, 7))
    node.mend()


def strangle(w, step, node):
    node.slow_wire("tbf", "rate", "256kbit", "burst", "16kb", "latency", "400ms")
    w.hold(step.chance.uniform(8, 12))
    node.mend()


@row("N16", 0, "I3 I7")
def slow_wire(w, step):
    """A standby's wire carries 256 kbit/s. The store's leader is elsewhere."""
    leader = store_leader(w)
    node = next(one for one in w.standbys(step.chance) if one is not leader)
    w.say(f"standby {node.name}")
    strangle(w, step, node)


@row("N16b", 1, "I3 I7")
def slow_wire_of_store(w, step):
    """The wire of the store's leader carries 256 kbit/s: it is heard, and can do nothing."""
    node = store_leader(w) or pick(w, step, "standby")
    strangle(w, step, node)


@row("N17", 1, "I8 I7")
def long_queue(w, step):
    """What the primary sends waits for up to two seconds in a queue."""
    node = victim(w)
    node.slow_wire("tbf", "rate", "1500kbit", "burst", "16kb", "latency", "2s")
    w.hold(step.chance.uniform(8, 14))
    node.mend()


@row("N18", 0, "I2 I10")
def peer_never_answers(w, step):
    """Agent and store member of a standby take connections and never answer."""
    node = pick(w, step, "standby")
    stop([node.agent.pid] + node.store_pids())
    w.hold(w.ttl + step.chance.uniform(2, 5))
