"""A world that is frozen, slow or full: servers whose processes live and do not work, disks that hang, refuse or are full.

The lines of these tests begin with "cluster/slow/". Each node's data lies on a file system of its own (ext4 on a file), the
store is an external one, so that only the database's disk suffers. What an operator wants in each case, and the rule that
does it: docs/decisions/2026-11-25-slow-world.md.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import time

from cluster import BUILD, USER, Cluster, Failure, Skip, children_of, now, send_signal, wait_until
from etcd import Etcd
from faults import fill, is_root, listing, log_end, log_since, wait_listed
import fences
import groups
from groups import check, check_no_loss, new_folder, note
from sync import wait_key

GROUPS = []
DISK = os.path.join(BUILD, "tests", "cluster", "baton-disk.so")
TTL = 5
HANG = 10
DISK_MB = 1500

group = groups.into(GROUPS, "slow")


class OwnDisks(Cluster):
    """Each node's data and runtime folder on an ext4 of its own; the agent's log is elsewhere, as a journal's is."""

    def mount(self):
        for node in self.nodes:
            path = os.path.join(node.folder, "disk")
            image = os.path.join(node.folder, "image")
            os.mkdir(path)
            with open(image, "wb") as file:
                file.truncate(DISK_MB << 20)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
            subprocess.run(["mount", "-o", "loop", image, path], check=True)
            self.own(path)
            node.disk = path
            node.data = os.path.join(path, "data")
            node.refused = os.path.join(node.folder, "refused")
            # A copy that the unprivileged user can read: the loader says nothing of one that it cannot.
            node.environment = {"LD_PRELOAD": shutil.copy(DISK, node.folder), "BATON_TEST_REFUSED": node.refused}
            node.write_config()

    def stop(self):
        for node in self.nodes:
            thaw(node)
        super().stop()
        for node in self.nodes:
            subprocess.run(["umount", "-l", os.path.join(node.folder, "disk")], check=False, stderr=subprocess.DEVNULL)


def on_own_disks(ttl, setting):
    """A cluster of three with an external store, or why there is none here."""
    if not is_root():
        return "needs root"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices"
    folder = new_folder()
    store = Etcd(folder)
    cluster = OwnDisks(os.path.join(folder, "cluster"), ttl=ttl, loop_wait=1, etcd=store.clients,
                       settings=f"    maximum_lag_on_failover: 1GB\n    {setting}\n    baton:\n      hang_timeout: {HANG}")
    cluster.store = store
    return cluster


def freeze(node):
    subprocess.run(["fsfreeze", "-f", node.disk], check=True)


def thaw(node):
    subprocess.run(["fsfreeze", "-u", os.path.join(node.folder, "disk")], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def stopped(pids):
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send_signal(pid, signal.SIGCONT)


@contextlib.contextmanager
def injected(pids, inject):
    """System calls of running processes, and of those that they make, fail or wait."""
    if not shutil.which("strace"):
        raise Skip("needs strace")
    words = ["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", f"inject=fsync,fdatasync:{inject}"]
    for pid in pids:
        words += ["-p", str(pid)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    time.sleep(0.5)
    check(process.poll() is None, "strace cannot attach")
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def refusing(node):
    """What its agent flushes fails (disk.c)."""
    with open(node.refused, "wb"):
        pass
    try:
        yield
    finally:
        os.remove(node.refused)


def server_pids(node):
    postmaster = node.postmaster()
    return [postmaster] + children_of(postmaster)


def wait_rule(node, position, rule, seconds):
    wait_until(f"{node.name} decides {rule}", lambda: f"rule={rule} " in log_since(node, position), seconds, 0.1)


def outage(cluster, begin, what, longest):
    cluster.wait_acks(20, 60)
    gap = cluster.longest_gap(begin)
    note(f"{what}: writes paused for {gap:.1f} s")
    check(gap < longest, f"writes paused for {gap:.1f} s")


@contextlib.contextmanager
def nothing_happens(cluster):
    """The primary stays, its server is not restarted, the lease keeps its term."""
    primary = cluster.wait_primary()
    pid, term, position = primary.postmaster(), primary.status()["baton"]["term"], log_end(primary)
    yield primary
    check(primary.is_primary() and primary.postmaster() == pid, "the server was restarted, or is not the primary any more")
    check(primary.status()["baton"]["term"] == term, "the lease was taken anew")
    check("rule=trouble." not in log_since(primary, position), "a rule for a server that hangs has decided")


def disks_up(cluster):
    cluster.mount()
    cluster.start()
    cluster.wait_healthy(90)
    cluster.start_load()


# --- the server ---------------------------------------------------------------------------------------------------------

def server_frozen(cluster):
    """P11: all processes of the primary's server are stopped: they live, connections are taken, nothing is answered."""
    primary, begin = cluster.wait_primary(), now()
    position = log_end(primary)
    with stopped(server_pids(primary)):
        wait_rule(primary, position, "trouble.silent", HANG + 10)
        check(now() - begin > HANG - 1, "it was killed too soon")
        outage(cluster, begin, "server frozen", HANG + TTL + 10)
    cluster.wait_healthy(90)
    check_no_loss(cluster)


def agents_backend_frozen(cluster):
    """One backend that hangs, the agent's own, is no server that hangs."""
    with nothing_happens(cluster) as primary:
        pids = primary.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'baton'").split()
        check(pids, "the agent has no connection")
        with stopped([int(pid) for pid in pids]):
            time.sleep(HANG + 5)
    cluster.wait_acks()


def helper_frozen(cluster):
    """P12: checkpointer and WAL writer: commits and the agent's questions are answered."""
    with nothing_happens(cluster) as primary:
        pids = primary.sql("SELECT pid FROM pg_stat_activity WHERE backend_type IN ('checkpointer', 'walwriter')").split()
        check(len(pids) == 2, f"{len(pids)} processes, not 2")
        with stopped([int(pid) for pid in pids]):
            time.sleep(HANG + 4)
            cluster.wait_acks()


def connect(node):
    """A connection of a superuser on the server's own socket, as the agent's is; None when there is none left."""
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(5)
    user = pwd.getpwnam(USER).pw_uid
    os.seteuid(user)  # the server asks the kernel who it is
    try:
        one.connect(os.path.join(node.data + ".baton", f".s.PGSQL.{node.pg}"))
    finally:
        os.seteuid(0)
    words = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
    one.sendall(struct.pack("!I", len(words) + 4) + words)
    said = b""
    with contextlib.suppress(socket.timeout):
        while b"Z\0\0\0\5I" not in said:
            more = one.recv(4096)
            if not more:
                break
            said += more
    if b"Z\0\0\0\5I" in said:
        return one
    one.close()
    check(b"53300" in said, f"no connection: {said}")
    return None


def connections_exhausted(cluster):
    """W4: clients have all connections, those for superusers too, and the agent loses its own."""
    with nothing_happens(cluster) as primary, contextlib.ExitStack() as stack:
        held = []
        def take():
            while (one := connect(primary)) is not None:
                held.append(stack.enter_context(one))
        take()
        check(len(held) > 90, f"only {len(held)} connections could be taken")
        send_signal(backend_of_agent(primary), signal.SIGTERM)
        for _ in range(20):
            take()
            time.sleep(0.02)
        time.sleep(HANG + 4)
        said = primary.status()["baton"]["problem"]
        note(f"connections exhausted: {said or 'the agent has got its connection back'}")
        try:
            cluster.wait_acks(seconds=10)
        except Failure:
            # It gives up a connection that is silent for a second, as in a stall of the machine, and gets no other one.
            note("connections exhausted: the workload has lost its own")
            held.pop().close()
            cluster.wait_acks()
    cluster.wait_healthy(60)


def backend_of_agent(node):
    """The process that serves the agent: of the connections on the server's own socket the oldest, the test's are younger."""
    found = []
    for pid in children_of(node.postmaster()):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"postgres postgres [local]" in file.read():
                found.append(pid)
    check(found, "the agent has no connection")
    return min(found)


# --- the disk -----------------------------------------------------------------------------------------------------------

def flush_slow(cluster):
    """S4: each flush of the server and of the agent takes 5 s: the lease is renewed all the same, nobody takes over."""
    with nothing_happens(cluster) as primary:
        with injected(server_pids(primary) + [primary.agent.pid], "delay_enter=5000000"):
            time.sleep(3 * TTL + 2)
    cluster.wait_acks()
    cluster.wait_healthy(60)
    check_no_loss(cluster)


def disk_hung(cluster):
    """The primary's disk takes no write and refuses none: killed processes cannot even end. A standby goes on."""
    primary, begin = cluster.wait_primary(), now()
    position = log_end(primary)
    freeze(primary)
    try:
        wait_rule(primary, position, "trouble.disk", HANG + 15)
        new = cluster.wait_primary(3 + 3 * TTL + 10, but=primary)
        outage(cluster, begin, "disk hung", HANG + 3 + 3 * TTL + 10)
        text = listing(new)
        check("hangs" in text, f"`baton list` does not say it: {text}")
    finally:
        thaw(primary)
    cluster.wait_healthy(90)
    check_no_loss(cluster)


def standbys_disk_hung(cluster):
    """A standby whose disk hangs is shown, and is no candidate."""
    with nothing_happens(cluster):
        node = cluster.standbys()[0]
        freeze(node)
        try:
            wait_listed(node, "hangs", seconds=HANG + 10)
            wait_until("it is no candidate", lambda: node.status()["baton"].get("trouble") == "disk hung", HANG + 10, 0.2)
            check(node.status()["baton"]["candidate"] is False, "it is a candidate")
        finally:
            thaw(node)
        cluster.wait_acks()
    cluster.wait_healthy(60)


def disk_refuses(cluster):
    """S3, S5: flushes of the primary's disk fail; the server has not noticed yet, the agent has. A standby goes on."""
    primary, begin = cluster.wait_primary(), now()
    position = log_end(primary)
    others = [one for one in cluster.nodes if one is not primary]
    with refusing(primary):
        wait_until(f"{primary.name} decides trouble.disk", lambda: "rule=trouble.disk " in log_since(primary, position)
                   or any(one.is_primary() for one in others), HANG + 15, 0.2)
        new = cluster.wait_primary(3 * TTL + 15, but=primary)
        outage(cluster, begin, "disk refuses", 2 * TTL + 10)
        wait_listed(new, "takes no writes", seconds=10)
        said = log_since(primary, position)
        check(said.count("rule=promote.run ") == 0, "it was opened again")
        check("rule=trouble.disk " in said, "the lease went for another reason")
        # Nobody has all that the disk has: the lease lapses, and what it had alone may be lost in asynchronous mode.
        if "rule=trouble.release " not in said and "rule=crash.release " not in said:
            check("rule=trouble.lapse " in said, "the lease did not lapse and was not released")
            cluster.excuse_last_second(begin)
    cluster.wait_healthy(60)
    check_no_loss(cluster)


def disk_full(cluster):
    """The primary's disk is full, a standby's is not: it hands over once, and nothing is lost."""
    primary, begin = cluster.wait_primary(), now()
    position = log_end(primary)
    ballast = fill(primary.disk)
    try:
        new = cluster.wait_primary(HANG + 25, but=primary)
        said = log_since(primary, position)
        note("disk full: " + ("handed over" if "rule=trouble.full " in said else "the server ended by itself"))
        outage(cluster, begin, "disk full", HANG + 20)
        wait_until("it is shown", lambda: "make room" in listing(new), 15, 0.2)
        check(new.status()["baton"].get("trouble") is None, "the new one is in trouble as well")
    finally:
        os.remove(ballast)
    cluster.wait_healthy(90)
    check_no_loss(cluster)


# --- agent and node -----------------------------------------------------------------------------------------------------

def agent_stopped(cluster):
    """The agent alone is stopped for longer than the ttl: the guard ends the server, another node goes on."""
    primary, begin = cluster.wait_primary(), now()
    with stopped([primary.agent.pid]):
        cluster.wait_primary(3 * TTL + 10, but=primary)
        check(primary.postmaster() is None, "its server lives on beside the new primary")
        outage(cluster, begin, "agent stopped", 2 * TTL + 8)
        cluster.excuse_last_second(begin)
    cluster.wait_healthy(90)
    check_no_loss(cluster)


def agent_stopped_shortly(cluster):
    """For less than the lease lasts: nothing happens."""
    with nothing_happens(cluster) as primary:
        with stopped([primary.agent.pid]):
            time.sleep(TTL / 4)
        time.sleep(1)
    cluster.wait_acks()


@group(disks_up, server_frozen, agents_backend_frozen, helper_frozen, connections_exhausted, flush_slow, disk_hung,
       standbys_disk_hung, disk_refuses, disk_full, agent_stopped, agent_stopped_shortly, seconds=177)
def slow_world():
    return on_own_disks(TTL, "failsafe_mode: true")


# --- a synchronous standby without room ----------------------------------------------------------------------------------

def voters_up(cluster):
    disks_up(cluster)
    wait_key(cluster, 2)


def full_voter_promises(cluster):
    """A synchronous standby's disk has been filled, and the primary's node dies before that standby's server has ended: its
    promise needs no room, so nobody waits for the lease of 30 s. The other one has more: with the newest row on a disk that has no
    room for a promotion nobody could go on until somebody makes room."""
    old = cluster.wait_primary()
    full = max(cluster.standbys(), key=lambda node: node.name)
    new = next(node for node in cluster.standbys() if node is not full)
    ballast = fill(full.disk)
    try:
        ends = {node: log_end(node) for node in (full, new)}
        full.signal_walreceiver(signal.SIGSTOP)
        cluster.wait_acks(5)
        begin = now()
        old.kill_node()
        for number in (signal.SIGTERM, signal.SIGCONT):
            full.signal_walreceiver(number)
        wait_until(f"{new.name}, which has room, is the primary", new.is_primary, 25, 0.1)
        outage(cluster, begin, "node killed beside a full voter", 28)
        said = {node: log_since(node, ends[node]) for node in (full, new)}
        check("rule=revoke.promised " in said[full], f"{full.name} has promised nothing")
        check(any("rule=revoke.take " in text for text in said.values()), "nobody took the lease by revocation")
    finally:
        os.remove(ballast)
    old.start()
    cluster.wait_healthy(90)
    check_no_loss(cluster)


@group(voters_up, full_voter_promises, seconds=45)
def full_world():
    return on_own_disks(30, "synchronous_mode: quorum")


# --- the watchdog -------------------------------------------------------------------------------------------------------

class Watched(Cluster):
    """Each node must have a watchdog, which is a FIFO of its own; n2 goes before n3."""

    def __init__(self, folder):
        super().__init__(folder, ttl=8, loop_wait=1, settings="    maximum_lag_on_failover: 1GB")
        self.fifos = {node.name: fences.Fifo(self, self.device(node)) for node in self.nodes}

    def device(self, node):
        return os.path.join(self.folder, f"watchdog-{node.name}")

    def render_config(self, node):
        rank = {"n1": 3, "n2": 2, "n3": 1}[node.name]
        return super().render_config(node) + (
            f"tags:\n  failover_priority: {rank}\n"
            f"watchdog:\n  mode: required\n  driver: testing\n  device: {self.device(node)}\n  safety_margin: 5\n")


def watched_up(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    cluster.start_load()


def watchdog_fails(cluster):
    """The primary's required watchdog fails: it hands over, while it still can, without a loss."""
    primary, begin = cluster.wait_primary(), now()
    position = log_end(primary)
    cluster.fifos[primary.name].remove()
    wait_rule(primary, position, "trouble.unwatched", 30)
    cluster.wait_primary(30, but=primary)
    outage(cluster, begin, "watchdog failed", 12)
    cluster.fifos[primary.name].make()
    cluster.wait_healthy(60)
    check_no_loss(cluster)


def watchdog_fails_when_needed(cluster):
    """It looks well until it is opened: whoever has taken the lease gives it to another node, and is not opened."""
    primary = cluster.wait_primary()
    chosen = min((one for one in cluster.nodes if one is not primary), key=lambda one: one.name)
    position = log_end(chosen)
    os.close(cluster.fifos[chosen.name].fd)  # nobody listens: it is there, and cannot be opened
    cluster.stop_load()
    time.sleep(2)
    primary.kill_node()
    new = cluster.wait_primary(60)
    said = log_since(chosen, position)
    os.unlink(cluster.device(chosen))
    cluster.fifos[chosen.name].make()
    primary.start()
    cluster.wait_healthy(90)
    cluster.start_load()
    cluster.wait_acks()
    check("rule=lease.taken " in said, f"{chosen.name} was not the one to take the lease: nothing is proven")
    check(new is not chosen and "rule=trouble.release " in said, f"{chosen.name} did not give the lease away")


@group(watched_up, watchdog_fails_when_needed, watchdog_fails, seconds=19)
def watched():
    return Watched(os.path.join(new_folder(), "cluster"))
