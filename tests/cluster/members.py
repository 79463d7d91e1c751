"""The membership of the store: members of the agents' own one leave, are taken out, are replaced, join; those of an
external one, with all its locks, come and go.

The lines of these tests begin with "cluster/members/". The workload writes
all the time; each test tells the longest pause of writes, and none may cause a failover but those that kill the primary.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time

from cluster import Cluster, Failure, Skip, as_user, free_ports, now, wait_until
from etcd import SecureEtcd
import groups
from groups import check, new_folder, note

GROUPS = []
TTL = 5
LONGEST = 2.0  # seconds without a write while no primary is touched; measured on an idle machine: below 0.1

group = groups.into(GROUPS, "members")


# --- tools -------------------------------------------------------------------------------------------------------------

def store(node, *words):
    """(exit code, what it printed, what it complained) of `baton store ...` with a node's configuration."""
    done = subprocess.run(
        as_user() + [node.cluster.baton, "store", "-c", node.config, *words], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=60, env={"PATH": os.environ["PATH"], "LANG": "C"})
    return done.returncode, done.stdout, done.stderr


def rows(node):
    """Name -> row of `baton store -f json`."""
    code, text, _ = store(node, "-f", "json")
    return {one["Member"]: one for one in json.loads(text)} if code == 0 else {}


def states(node):
    """Name -> state of those that are in the store."""
    return {name: row["State"] for name, row in rows(node).items() if row["State"] not in ("new", "left", "forming")}


def wait_members(node, *names, seconds=20.0):
    """The store has exactly these members, all vote, one leads."""
    last = [{}]
    def is_so():
        last[0] = states(node)
        return sorted(last[0]) == sorted(names) and sorted(last[0].values()) == ["leader"] + ["voter"] * (len(names) - 1)
    try:
        wait_until(f"the members of the store are {', '.join(names)}", is_so, seconds, 0.2)
    except Failure as failure:
        raise Failure(f"{failure}; they are {last[0]}; {store(node)}") from failure


def wait_agent_says(node, name, words, seconds=20.0):
    wait_until(f"the agent of {name} says '{words}'", lambda: words in rows(node).get(name, {}).get("Agent", ""),
               seconds, 0.2)


def change(node, *words):
    """Etcd may ask to try again: it wants members that have just started connected for five seconds."""
    end = now() + 10
    code, said, complaint = store(node, *words)
    while code == 1 and "try again" in complaint and now() < end:
        time.sleep(0.5)
        code, said, complaint = store(node, *words)
    check(code == 0, f"`baton store {' '.join(words)}`: exit code {code}: {complaint}")
    return said


def refused(node, *words, sentence):
    code, said, complaint = store(node, *words)
    check(code == 1, f"`baton store {' '.join(words)}`: exit code {code}, not 1: {said}{complaint}")
    check(sentence in complaint, f"'{sentence}' is not in what it says: {complaint}")
    check("hint: " in complaint, f"it does not say what to do: {complaint}")


@contextlib.contextmanager
def steady(cluster, what, longest=LONGEST):
    """No failover, no restart of the primary, writes go on, nothing is lost."""
    begin, primary = now(), cluster.wait_primary()
    pid, timeline = primary.postmaster(), primary.status()["timeline"]
    yield primary
    cluster.wait_acks()
    gap = cluster.longest_gap(begin)
    note(f"{what}: writes paused for at most {gap * 1000:.0f} ms")
    check(cluster.wait_primary() is primary and primary.postmaster() == pid, "the primary was not left alone")
    check(primary.status()["timeline"] == timeline, "the timeline changed")
    check(gap < longest, f"writes paused for {gap:.2f} s")
    lost = cluster.lost_rows()
    check(not lost, f"{len(lost)} acknowledged rows are lost, the first is {lost[:1]}")


def aside(node, word):
    """Data directories of the store that were renamed aside for this reason."""
    return [one for one in os.listdir(node.folder) if one.startswith(f"store.{word}-")]


# --- the tests ---------------------------------------------------------------------------------------------------------

def bring_up(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    cluster.start_load()
    node = cluster.nodes[0]
    wait_members(node, "n1", "n2", "n3")
    code, text, _ = store(node)
    check(code == 0 and "| Member | Client" in text and f"{node.host}:{node.peer}" in text, f"the list: {text}")
    for words in (["nonsense"], ["remove"], ["list", "n1"], ["-f", "nonsense"]):
        code, _, complaint = store(node, *words)
        check(code == 2, f"exit code {code}, not 2, for {words}: {complaint}")
    refused_code, _, complaint = store(node, "remove", "n9")
    check(refused_code == 1 and "n1, n2, n3" in complaint, f"a member that is not there: {complaint}")


def member_leaves(cluster):
    """The member beside the primary leaves; its agent goes on with the others, also after a restart, and joins again."""
    with steady(cluster, "a member leaves, its agent restarts, it joins again") as primary:
        other = cluster.standbys()[0]
        names = [one.name for one in cluster.nodes]
        change(other, "remove", primary.name)
        rest = [one for one in names if one != primary.name]
        wait_members(other, *rest)
        check(len(aside(primary, "left")) == 1, f"its data was not renamed aside: {os.listdir(primary.folder)}")
        primary.kill_agent()
        time.sleep(0.3)
        primary.start()
        wait_until("the agent holds the lease again", primary.is_primary, 10)
        time.sleep(TTL)
        check(primary.is_primary(), "the lease was lost")
        wait_agent_says(other, primary.name, "has left the store")
        wait_members(other, *rest)
        check("\nto do" not in store(primary)[1], "a member that left is no trouble")
        change(other, "join", primary.name)
        wait_members(other, *names)


def member_removed_when_dead(cluster):
    """A dead host's member is taken out by another one; one that is needed is not; the host stays out when it is back."""
    with steady(cluster, "a dead host's member is taken out") as primary:
        dead, other = cluster.standbys()
        dead.kill_node()
        wait_until("it does not answer", lambda: states(primary).get(dead.name) == "does not answer", 10, 0.2)
        text = store(primary)[1]
        check(f"baton store remove {dead.name}" in text, f"it is not said what to do: {text}")
        refused(primary, "remove", other.name, sentence="lose its quorum")
        refused(primary, "remove", primary.name, sentence="lose its quorum")
        change(primary, "remove", dead.name)
        wait_members(primary, primary.name, other.name)
        dead.start()
        wait_agent_says(primary, dead.name, "has left the store")
        check(len(aside(dead, "removed")) == 1, f"its data was not renamed aside: {os.listdir(dead.folder)}")
        cluster.wait_healthy(60)
        wait_members(primary, primary.name, other.name)
        change(primary, "join", dead.name)
        wait_members(primary, *[one.name for one in cluster.nodes])


def member_with_lost_disk(cluster):
    """A host comes back with nothing but its configuration: a new member under the old name, never the old identity."""
    with steady(cluster, "a host lost its disk") as primary:
        node = cluster.standbys()[0]
        ids = {one["name"]: one["id"] for one in json.loads(primary.get("/baton/store/members")[1])["members"]}
        node.kill_node()
        for name in os.listdir(node.folder):
            path = os.path.join(node.folder, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif path not in (node.config, node.log):
                os.remove(path)
        node.start()
        cluster.wait_healthy(60)

        def members():
            return {one["name"]: one["id"] for one in json.loads(primary.get("/baton/store/members")[1])["members"]}

        # The database may be back before the store has put the new member in the place of the old one.
        wait_until("it has another identity", lambda: members().get(node.name, ids[node.name]) != ids[node.name], 20, 0.1)
        wait_members(primary, "n1", "n2", "n3")
        after = members()
        check(all(after[name] == ids[name] for name in ids if name != node.name), "another member has changed")


def store_majority_restarted(cluster):
    """All hosts lose power at once and come back: the same cluster, the same members, nothing lost."""
    primary = cluster.wait_primary()
    ids = {one["name"]: one["id"] for one in json.loads(primary.get("/baton/store/members")[1])["members"]}
    begin, system = now(), primary.status()["database_system_identifier"]
    for node in cluster.nodes:
        node.kill_node()
    time.sleep(0.5)
    for node in cluster.nodes:
        node.start()
    cluster.wait_healthy(60)
    cluster.wait_acks()
    note(f"all hosts killed and started: writes paused for {cluster.longest_gap(begin):.1f} s")
    node = cluster.nodes[0]
    wait_members(node, "n1", "n2", "n3")
    after = {one["name"]: one["id"] for one in json.loads(node.get("/baton/store/members")[1])["members"]}
    check(after == ids, f"members have changed: {ids}, {after}")
    check(node.status()["database_system_identifier"] == system, "it is another cluster")
    lost = cluster.lost_rows()
    check(not lost, f"{len(lost)} acknowledged rows are lost, the first is {lost[:1]}")


def fourth_joins(cluster):
    """A new host, which no other configuration names, joins the store and the cluster."""
    with steady(cluster, "a fourth host joins") as primary:
        node = cluster.node_class(cluster, "n4", "127.0.0.1", free_ports(4))
        cluster.nodes.append(node)
        node.write_config()
        node.start()
        wait_members(primary, "n1", "n2", "n3", "n4")
        cluster.wait_healthy(60)


def host_replaced(cluster):
    """A host is gone for good, the new one has joined before: its member is taken out, and nobody misses it."""
    with steady(cluster, "a host is replaced") as primary:
        dead = next(one for one in cluster.standbys() if one.name != "n4")
        dead.kill_node()
        cluster.nodes.remove(dead)
        change(primary, "remove", dead.name)
        wait_members(primary, *[one.name for one in cluster.nodes])
        cluster.wait_healthy(30)


def last_member_refused(cluster):
    """The store shrinks to the host that the others' configurations do not name; they find it; it may not go."""
    if all(one.name != "n4" for one in cluster.nodes):
        raise Skip("fourth_joins brings the host that it needs")
    with steady(cluster, "the store shrinks to one member") as primary:
        last = cluster.node("n4")
        others = [one for one in cluster.nodes if one is not last]
        change(last, "remove", others[0].name)
        wait_members(last, "n4", others[1].name)
        change(last, "remove", others[1].name)
        begin = now()
        wait_members(last, "n4")
        refused(last, "remove", "n4", sentence="only voting member")
        refused(primary, "remove", "n4", sentence="only voting member")
        change(last, "join", others[0].name)
        wait_members(others[0], "n4", others[0].name)
        time.sleep(max(0.0, begin + TTL - now()))
        cluster.wait_healthy(30)


@group(bring_up, member_leaves, member_removed_when_dead, member_with_lost_disk, store_majority_restarted, fourth_joins,
       host_replaced, last_member_refused, seconds=41)
def own_members():
    return Cluster(new_folder(), ttl=TTL, loop_wait=1, settings="    maximum_lag_on_failover: 1GB")


# --- an external store with all its locks --------------------------------------------------------------------------------

class Secured(Cluster):
    """Certificates, user and password in the section `etcd`, the hosts as in the customer's file."""

    def render_config(self, node):
        locks = (f"  protocol: https\n  cacert: {self.store.file('ca.pem')}\n  cert: {self.store.file('client.pem')}\n"
                 f"  key: {self.store.file('client.key')}\n  username: {self.store.USER}\n"
                 f"  password: {self.store.PASSWORD}\n")
        text = super().render_config(node)
        line = next(one for one in text.splitlines() if one.startswith("  hosts: "))
        return text.replace("etcd3:\n", "etcd:\n").replace(line + "\n", line + "\n" + locks)


def secured_bring_up(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    cluster.start_load()
    code, said, complaint = store(cluster.nodes[0])
    check(code == 1 and "not run by the agents" in complaint and "etcdctl" in complaint, f"{code}: {said}{complaint}")


def compact(cluster, at):
    """The store forgets its history, as soon as it has a leader."""
    def is_done():
        try:
            cluster.store.compact(at)
            return True
        except OSError:
            return False
    wait_until("the store's history is compacted", is_done, 10, 0.2)


def secured_store_changes(cluster):
    """Tokens expire, the leader dies, what watches are to continue from is compacted, the other hosts restart."""
    with steady(cluster, "external store: its leader dies, its tokens end, its history is compacted", 4.0):
        time.sleep(3)  # longer than a token lives
        leader = cluster.store.leader()
        cluster.store.kill(leader)
        time.sleep(TTL + 1)
        compact(cluster, (leader + 1) % 3)
        cluster.store.start(leader)
        wait_until("etcd answers", cluster.store.is_healthy, 20, 0.2)
        # Its tokens and watches are gone with it, and so is the history.
        other = (leader + 1) % 3
        cluster.store.kill(other)
        compact(cluster, leader)
        cluster.store.start(other)
        wait_until("etcd answers", cluster.store.is_healthy, 20, 0.2)
        time.sleep(TTL)
    cluster.wait_healthy(30)


@group(secured_bring_up, secured_store_changes, seconds=21)
def external_members():
    folder = new_folder()
    external = SecureEtcd(folder)
    # The configurations are written while it is made.
    Secured.store = external
    return Secured(os.path.join(folder, "cluster"), ttl=TTL, loop_wait=1, etcd=external.clients)
