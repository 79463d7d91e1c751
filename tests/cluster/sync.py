"""Synchronous modes on real servers: what commits wait for, who may take over, and how soon.

The ttl is 30 s in all of these: nobody who takes over here has waited for a lease."""

import json
import os
import signal
import subprocess
import time

from cluster import Cluster, now, wait_until
from etcd import Etcd
import groups
from groups import check, check_no_loss, new_folder, note

GROUPS = []


def key_of(cluster):
    """The key sync as the REST ports tell it: (leader, voters as sorted names)."""
    primary = cluster.primary()
    if primary is None:
        return None, []
    members = json.loads(primary.get("/cluster")[1])["members"]
    voters = sorted(one["name"] for one in members if one["role"] in ("sync_standby", "quorum_standby"))
    return primary.name, voters


def wait_key(cluster, count, seconds=30):
    wait_until(f"{count} standbys are published", lambda: len(key_of(cluster)[1]) == count, seconds, 0.05)


def setting(node):
    return node.sql("SHOW synchronous_standby_names")


def quorum_bootstrap(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    wait_key(cluster, 2)
    primary = cluster.primary()
    names = ",".join(f'"{one.name}"' for one in cluster.standbys())
    check(setting(primary) == f"ANY 1 ({names})", setting(primary))
    for one in cluster.standbys():
        check("placeholder" in setting(one), f"{one.name} would acknowledge alone when opened: {setting(one)}")
        check(one.get("/quorum")[0] == 200, f"{one.name} /quorum")
        check(one.status().get("quorum_standby") is True, f"{one.name} quorum_standby")
    cluster.start_load()


def outage(cluster, begin):
    cluster.wait_acks(20, 60)
    gap = cluster.longest_gap(begin)
    note(f"{cluster.primary().name}: writes paused for {gap:.2f} s")
    return gap


def kept(node, kind):
    """The newest text of a file beside the data (src/io/kept.h), with its number."""
    with open(f"{node.data}.{kind}", "rb") as file:
        slots = [file.read(512), file.read(512)]
    lines = [slot.split(b"\n")[0].decode() for slot in slots if slot[:1] != b"\0"]
    return max((int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines)


def put_as_before(node):
    """What is kept beside the data, as it was written until 2026-11-26: a line, without the own term."""
    seen = kept(node, "seen")[1].split(" ")[:4]
    for kind, text in (("promise", "0"), ("seen", " ".join(seen))):
        with open(f"{node.data}.{kind}", "w", encoding="utf-8") as file:
            file.write(text + "\n")


def quorum_agent_killed(cluster):
    """The server of a holder whose agent is gone answers: nobody takes over, no write fails. An agent that is a version newer
    reads what the earlier one kept."""
    primary, begin = cluster.primary(), now()
    failed, postmaster = len(cluster.outcomes("fail")), primary.postmaster()
    primary.kill_agent()
    seen = kept(primary, "seen")[1]
    put_as_before(primary)
    time.sleep(1.5)
    primary.start()
    wait_until("the agent holds the lease again", primary.is_primary, 15)
    wait_key(cluster, 2)
    wait_until("the files have slots", lambda: kept(primary, "seen")[1] == seen and kept(primary, "promise") == (1, "0"), 15)
    check(primary.postmaster() == postmaster, "the server was restarted")
    check(len(cluster.outcomes("fail")) == failed, "a write failed")
    check(outage(cluster, begin) < 1.5, "writes paused")
    check_no_loss(cluster)


def quorum_server_killed(cluster):
    """A standby that has everything goes on at once."""
    begin = now()
    cluster.primary().kill_server()
    check(outage(cluster, begin) < 5, "it took long")
    cluster.wait_healthy(60)
    wait_key(cluster, 2)
    check_no_loss(cluster)


def log_since(node, begin):
    with open(node.log, encoding="utf-8", errors="replace") as file:
        file.seek(begin)
        return file.read()


def quorum_node_killed(cluster):
    """Nobody waits for the lease of 30 s."""
    old, begin = cluster.primary(), now()
    sizes = {one.name: os.path.getsize(one.log) for one in cluster.nodes}
    old.kill_node()
    new = cluster.wait_primary(15, but=old)
    gap = outage(cluster, begin)
    check(gap < 10, f"writes paused for {gap:.2f} s")
    check_no_loss(cluster)
    check("rule=revoke.take" in log_since(new, sizes[new.name]), f"{new.name} did not take the lease by revocation")
    old.start()
    cluster.wait_healthy(90)
    wait_key(cluster, 2)


def quorum_frozen_and_thawed(cluster):
    """It wakes up long after somebody else has taken over, and acknowledges nothing."""
    old, begin = cluster.primary(), now()
    old.signal_node(signal.SIGSTOP)
    cluster.wait_primary(15, but=old)
    gap = outage(cluster, begin)
    time.sleep(3)
    old.signal_node(signal.SIGCONT)
    cluster.wait_healthy(90)
    wait_key(cluster, 2)
    check(gap < 10, f"writes paused for {gap:.2f} s")
    check_no_loss(cluster)


def quorum_standby_and_primary_killed(cluster):
    """One of two voters is left: it may lack what the other has confirmed, so it waits, and says so."""
    old = cluster.primary()
    gone, left = cluster.standbys()
    begin = os.path.getsize(left.log)
    gone.signal_node(signal.SIGSTOP)
    old.signal_node(signal.SIGSTOP)
    try:
        wait_until("it says that it waits", lambda: "rule=revoke.alone" in log_since(left, begin), 15)
        wait_until("baton list says so", lambda: "too few synchronous standbys" in subprocess.run(
            [cluster.baton, "list", "-c", left.config], capture_output=True, text=True, check=False, timeout=20).stdout, 15)
        time.sleep(2)
        check(left.status().get("role") == "replica", f"{left.name} took over alone")
    finally:
        gone.signal_node(signal.SIGCONT)
        old.signal_node(signal.SIGCONT)
    cluster.wait_healthy(90)
    cluster.wait_acks(20, 60)
    wait_key(cluster, 2)
    check_no_loss(cluster)


def quorum_standbys_lost(cluster):
    """Without strict mode the primary goes on alone, and only it can then be primary."""
    gone = cluster.standbys()
    for one in gone:
        one.kill_node()
    wait_key(cluster, 0)
    cluster.wait_acks(20, 30)
    check(setting(cluster.primary()) == "", setting(cluster.primary()))
    for one in gone:
        one.start()
    cluster.wait_healthy(90)
    wait_key(cluster, 2)
    check_no_loss(cluster)


def with_store(settings, **times):
    """Three nodes, and a store that does not go with them."""
    folder = new_folder()
    store = Etcd(folder)
    cluster = Cluster(os.path.join(folder, "cluster"), etcd=store.clients, settings=settings, **times)
    cluster.store = store
    return cluster


group = groups.into(GROUPS, "sync")


@group(quorum_bootstrap, quorum_agent_killed, quorum_server_killed, quorum_node_killed, quorum_frozen_and_thawed,
       quorum_standby_and_primary_killed, quorum_standbys_lost, seconds=30)
def quorum():
    return with_store("    synchronous_mode: quorum")


def strict_bootstrap(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    wait_key(cluster, 1)
    primary = cluster.primary()
    check(setting(primary) == f'"{key_of(cluster)[1][0]}"', setting(primary))
    cluster.start_load()


def strict_sync_standby_killed(cluster):
    """The other standby takes its place; nothing is acknowledged without a copy."""
    begin, sync = now(), cluster.node(key_of(cluster)[1][0])
    sync.kill_node()
    check(outage(cluster, begin) < 10, "writes paused for long")
    wait_until("the other one is synchronous", lambda: key_of(cluster)[1] not in ([], [sync.name]), 20)
    sync.start()
    cluster.wait_healthy(90)
    check_no_loss(cluster)


def strict_node_killed(cluster):
    wait_key(cluster, 1)
    old, begin = cluster.primary(), now()
    old.kill_node()
    cluster.wait_primary(20, but=old)
    check(outage(cluster, begin) < 10, "it took long")
    old.start()
    cluster.wait_healthy(90)
    wait_key(cluster, 1)
    check_no_loss(cluster)


def strict_standbys_lost(cluster):
    """Writes wait; the first standby that is back lets them go on."""
    gone = cluster.standbys()
    for one in gone:
        one.kill_node()
    wait_until("commits wait for ever", lambda: "placeholder" in setting(cluster.primary()), 20)
    time.sleep(1)
    count = len(cluster.outcomes("ok"))
    time.sleep(2)
    check(len(cluster.outcomes("ok")) == count, "a row was acknowledged without a copy")
    for one in gone:
        one.start()
    cluster.wait_acks(20, 60)
    cluster.wait_healthy(90)
    check_no_loss(cluster)


@group(strict_bootstrap, strict_sync_standby_killed, strict_node_killed, strict_standbys_lost, seconds=22)
def strict():
    return with_store("    synchronous_mode: on\n    synchronous_mode_strict: true")


def whoever_answers_elsewhere_counts_for_nobody(cluster):
    """The third node's file has the second one's REST address: what that one has and has promised would count twice."""
    for one in cluster.nodes[:2]:
        one.start()
    wait_until("the first two run", lambda: len(cluster.streaming()) == 1, 90)
    cluster.nodes[2].start()
    primary = cluster.primary()
    other = next(one for one in cluster.nodes[:2] if one is not primary)
    wait_until("the third one streams", lambda: primary.sql(
        f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{cluster.nodes[2].name}'") == "1", 60)
    wait_until("the other one is published", lambda: key_of(cluster) == (primary.name, [other.name]), 30)
    cluster.start_load()
    cluster.wait_acks()
    time.sleep(3)
    with open(primary.log, encoding="utf-8") as file:
        said = file.read()
    check(f'{cluster.nodes[2].name} cannot be asked: ' in said and "connect_address" in said, "nobody says what is wrong")
    check(key_of(cluster) == (primary.name, [other.name]), f"{key_of(cluster)[1]} are published")
    primary.kill_node()  # only one is left that is heard, and one alone waits for the end of the lease
    cluster.wait_primary(60, but=primary)
    check(cluster.primary() is other, f"{cluster.primary().name} leads, who was not heard")
    cluster.wait_acks()
    check_no_loss(cluster)


@group(whoever_answers_elsewhere_counts_for_nobody, seconds=25)
def wrong_address():
    cluster = with_store("    synchronous_mode: quorum", ttl=10, loop_wait=2)
    second, third = cluster.nodes[1:]
    right = cluster.render_config
    cluster.render_config = lambda node: right(node).replace(
        f"connect_address: {third.host}:{third.rest}\n", f"connect_address: {second.host}:{second.rest}\n")
    third.write_config()
    return cluster
