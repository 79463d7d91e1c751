"""D: the store. Rows work with the agents' own store and with an external one, unless they say so."""

import json
import os
import shutil
import signal

from cluster import wait_until
from faults import fill
from fault import check, end_of, pick, quiet, resume, row, stop, store_leader, strace, victim, watch


def members(w):
    """Pids of the store's members, one list a member."""
    if w.store:
        return [[w.store.pid(at)] for at in range(3)]
    return [one.store_pids() for one in w.nodes]


def some_members(w, step, count):
    chosen = step.chance.sample(range(3), count)
    w.say("members " + ", ".join(str(at + 1) for at in sorted(chosen)))
    return [pid for at in chosen for pid in members(w)[at]]


def leader_pids(w):
    if w.store:
        return [w.store.pid(w.store.leader())]
    node = store_leader(w)
    return node.store_pids() if node else []


@row("D1", 0, "I7")
def minority_stopped(w, step):
    """One member of three stands still."""
    pids = stop(some_members(w, step, 1))
    w.hold(w.ttl + step.chance.uniform(1, 4))
    resume(pids)


@row("D1b", 0, "I7")
def minority_killed(w, step):
    """One member of three dies, and comes back: by its agent, or by hand where it is not the agents' own."""
    at = step.chance.randrange(3)
    if w.store:
        w.store.kill(at)
        w.hold(w.ttl + 1)
        w.store.start(at)
    else:
        for pid in w.nodes[at].store_pids():
            os.kill(pid, signal.SIGKILL)
        w.hold(w.ttl + 1)


@row("D2", 0, "I7")
def majority_away_shortly(w, step):
    """Two members of three stand still for less than the lease."""
    pids = stop(some_members(w, step, 2))
    w.hold(step.chance.uniform(0.8, 1.5))
    resume(pids)
    w.hold(2)


@row("D3", 1, "I2 I5")
def majority_away_long(w, step):
    """Two members of three stand still for longer than the lease: nobody writes."""
    pids = stop(some_members(w, step, 2))
    w.hold(w.ttl + 2)
    quiet(w, step.chance.uniform(2, 4), "without a store")
    resume(pids)


@row("D4", 0, "I2 I8")
def leader_stopped(w, step):
    """The store's leader stands still, another one is elected, the old one goes on."""
    pids = stop(leader_pids(w))
    check(pids, "the store has no leader")
    w.hold(step.chance.uniform(2, 8))
    resume(pids)
    w.hold(2)


@row("D5", 0, "I7", needs=["strace"])
def slow_store_disk(w, step):
    """Each flush of the store's log takes a third of a second more, at two members."""
    process = strace(w, some_members(w, step, 2), "trace=fdatasync,fsync", "inject=fdatasync,fsync:delay_enter=300000")
    w.hold(10)
    end_of(process)


@row("D7", 0, "I5")
def compacted(w, step):
    """The store forgets its history while agents watch, and is defragmented."""
    said = json.loads(w.store_call("get", "/service/demo/leader", "-w", "json").stdout)
    w.store_call("compact", str(said["header"]["revision"]))
    w.store_call("defrag")
    w.hold(step.chance.uniform(2, 5))


def start_store(w):
    for at in range(3):
        w.store.start(at)
    wait_until("etcd answers", w.store.is_healthy, 20, 0.2)


def refuse_and_restart(w, system):
    """Agents that knew the store before go by nothing that it says, until somebody restarts them; then the same cluster goes
    on."""
    w.hold(2 * w.ttl)
    said = [json.loads(one.get("/cluster")[1] or "{}").get("baton", {}).get("dcs_problem") or "" for one in w.nodes]
    check(all("replaced or restored" in one for one in said), f"they do not say that it was replaced: {said}")
    for node in w.nodes:
        with open(node.log, encoding="utf-8", errors="replace") as file:
            check("store.replaced" in file.read(), f"the log of {node.name} does not say that the store was replaced")
    check(not any(one.is_primary() for one in w.nodes), "somebody leads by a store that was replaced")
    for node in w.nodes:
        node.kill_agent()
        node.start()
    if not watch(2 * w.ttl, w.cluster.primary, 0.2):
        # The store knows less of the past than the data does, so nobody may go by it alone.
        w.say("an operator has to name a primary")
        node = w.nodes[0]
        done = node.run(w.cluster.baton, "failover", "-c", node.config, "--candidate", node.name, "--force", seconds=60)
        check(done.returncode == 0, f"failover to {node.name}: {done.stdout}{done.stderr}")
    w.cluster.wait_healthy(60)
    check({one.status()["database_system_identifier"] for one in w.nodes} == {system}, "it is another cluster")


@row("D8", 1, "I3 I8", needs=["etcd"])
def store_wiped(w, step):
    """The external store loses everything and starts empty: nothing is done by it until the agents are restarted."""
    system = w.primary().status()["database_system_identifier"]
    for at in range(3):
        w.store.kill(at)
        shutil.rmtree(w.store.data(at))
    w.hold(step.chance.uniform(0.5, 2))
    start_store(w)
    refuse_and_restart(w, system)


@row("D8b", 2, "I3 I8", needs=["etcd"])
def store_restored(w, _step):
    """The external store is set back to what it was before the primary's server died: the same."""
    system = w.primary().status()["database_system_identifier"]
    path = os.path.join(w.folder, "snapshot")
    done = w.store.ctl("snapshot", "save", path, one=True)
    check(done.returncode == 0, f"no snapshot: {done.stderr}")
    victim(w).kill_server()
    w.hold(5)
    for at in range(3):
        w.store.kill(at)
        shutil.rmtree(w.store.data(at))
        peers = ",".join(f"e{one}=http://{w.store.host}:{2380 + 10 * one}" for one in range(3))
        done = w.store.ctl("snapshot", "restore", path, "--name", f"e{at}", "--initial-cluster", peers,
                           "--initial-advertise-peer-urls", f"http://{w.store.host}:{2380 + 10 * at}", "--data-dir",
                           w.store.data(at), one=True)
        check(done.returncode == 0, f"not restored: {done.stderr}")
        own_all(w, w.store.data(at))
    os.remove(path)
    start_store(w)
    refuse_and_restart(w, system)


def own_all(w, folder):
    for path, folders, files in os.walk(folder):
        for name in [path] + [os.path.join(path, one) for one in folders + files]:
            w.cluster.own(name)


@row("D9", 0, "I8", needs=["own"])
def store_log_torn(w, step):
    """The end of a member's log is cut while its node is down."""
    node = pick(w, step, "standby")
    node.kill_node()
    folder = os.path.join(store_folder(w, node), "member", "wal")
    last = max((os.path.join(folder, one) for one in os.listdir(folder) if one.endswith(".wal")), key=os.path.basename)
    with open(last, "rb") as file:
        used = len(file.read().rstrip(b"\0"))
    with open(last, "r+b") as file:
        file.truncate(max(64, used - step.chance.randint(1, 60)))
    node.start()
    w.hold(5)


def store_folder(w, node):
    return os.path.join(node.folder, "kv", "store") if w.has_disks else os.path.join(node.folder, "store")


@row("D10", 0, "I7", needs=["own", "disk"])
def store_disk_full(w, step):
    """The file system of one store member has no room left."""
    node = pick(w, step, "primary", "standby")
    ballast = fill(os.path.join(node.folder, "kv"))
    w.hold(w.ttl + step.chance.uniform(2, 5))
    os.remove(ballast)


@row("D11", 1, "I8", needs=["own"])
def member_change_in_failover(w, step):
    """A standby's store member is taken out at the moment when the primary's server dies; it joins again."""
    node = victim(w)
    other, third = w.standbys(step.chance)
    process = w.spawn(third.inside() + [w.cluster.baton, "store", "-c", third.config, "remove", other.name])
    w.hold(step.chance.uniform(0, 0.3))
    node.kill_server()
    w.hold(6)
    end_of(process)
    said = []
    def is_joined():
        said.append(third.run(w.cluster.baton, "store", "-c", third.config, "join", other.name))
        return said[-1].returncode == 0
    wait_until("the member joins again", is_joined, 30, 1)
    w.hold(3)


@row("D12", 0, "I8", needs=["own"])
def old_store_disk(w, step):
    """A node comes back with what its store member had on disk some seconds ago."""
    node = pick(w, step, "standby")
    folder = store_folder(w, node)
    kept = os.path.join(node.folder, "store.old")  # not on the small disk
    node.kill_node()
    shutil.copytree(folder, kept, symlinks=True)
    node.start()
    w.hold(4)
    node.kill_node()
    shutil.rmtree(folder)
    shutil.move(kept, folder)
    own_all(w, folder)
    node.start()
    w.hold(5)
