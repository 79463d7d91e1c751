"""Cluster tests of the fences beside the guard's own: the kernel watchdog, with a FIFO in its place, and the packet filter."""

import os
import signal
import subprocess
import time

import groups
import netns
from cluster import LOAD, Cluster, Node, as_user, now, send_signal, wait_until
from groups import check, new_folder, note

GROUPS = []
group = groups.into(GROUPS, "fences")

CAP_NET_ADMIN = 1 << 12


# --- the watchdog ------------------------------------------------------------------------------------------------------

class Fifo:
    """What stands in for /dev/watchdog: all that is said to it is kept."""

    def __init__(self, cluster, path):
        self.cluster, self.path, self.fd, self.said = cluster, path, -1, ""
        self.make()

    def make(self):
        os.mkfifo(self.path, 0o600)
        self.cluster.own(self.path)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def remove(self):
        os.close(self.fd)
        os.unlink(self.path)

    def hear(self):
        """What was said since the last time."""
        try:
            said = os.read(self.fd, 65536).decode()
        except BlockingIOError:
            said = ""
        self.said += said
        return said


UNIFIED = next((path for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
                if os.path.exists(os.path.join(path, "cgroup.controllers"))), None)


class DelegatedNode(Node):
    """Its agent runs in a control group that its user may divide, as Delegate=yes of a unit makes it."""

    def start(self, program=None):
        super().start(program or self.cluster.delegated())
        if self.cluster.control_group is not None:
            with open(os.path.join(self.cluster.control_group, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(self.agent.pid))


class WatchedCluster(Cluster):
    node_class = DelegatedNode

    def delegated(self):
        """A program that enters the group and becomes the agent; the agent itself where there is no such group."""
        if UNIFIED is None or os.getuid() != 0:
            return self.baton
        if self.control_group is None:
            self.control_group = os.path.join(UNIFIED, "baton-test-" + os.path.basename(os.path.dirname(self.folder)))
            os.mkdir(self.control_group)
            for path in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
                self.own(os.path.join(self.control_group, path))
        # The common parent of two groups must belong to who moves a process between them: root does the first step.
        program = os.path.join(self.folder, "bin", "baton-delegated")
        with open(program, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nwhile ! grep -q {os.path.basename(self.control_group)} /proc/self/cgroup; do "
                       f"sleep 0.01; done\nexec {self.baton} \"$@\"\n")
        os.chmod(program, 0o755)
        return program

    def stop(self):
        super().stop()
        if self.control_group is not None:
            wait_until("the control group is empty", lambda: try_rmdir(self.control_group), 10)
            self.control_group = None

    def __init__(self, folder):
        self.control_group = None
        super().__init__(folder, count=1, ttl=8, loop_wait=1, node_settings=(
            f"watchdog:\n  mode: required\n  driver: testing\n  device: {folder}/watchdog\n  safety_margin: 5\n"))
        self.fifo = Fifo(self, os.path.join(folder, "watchdog"))


def try_rmdir(path):
    for entry in os.listdir(path):
        if entry.startswith("baton-guard-"):
            try_rmdir(os.path.join(path, entry))
    try:
        os.rmdir(path)
        return True
    except OSError:
        return False


def guard_of(node):
    return node.status().get("baton", {}).get("guard", {})


def watchdog_runs(cluster):
    """It is started before the promotion with ttl - safety_margin, and petted."""
    cluster.start()
    node = cluster.wait_primary(90)
    cluster.fifo.hear()
    check(cluster.fifo.said.startswith("Ctimeout=3\n1"), f"the watchdog heard {cluster.fifo.said[:40]!r}")
    check("V" not in cluster.fifo.said, "it was stopped")
    time.sleep(3)
    check("1" in cluster.fifo.hear(), "it is not petted")
    guard = guard_of(node)
    check(guard.get("watchdog") == "running", f"the status says {guard}")
    check(guard.get("means") == ("cgroup" if cluster.control_group else "descendants"), f"the status says {guard}")
    check("watchdog_failed" not in node.status(), "watchdog_failed is shown")
    note(f"guard: {guard}")


def watchdog_outlives_the_agent(cluster):
    """Without its agent the server is fenced at the deadline; the watchdog is stopped after the server, not before."""
    node = cluster.wait_primary()
    postmaster = node.postmaster()
    cluster.fifo.hear()
    node.kill_agent()
    said = ""
    end = now() + cluster.ttl + 10
    while "V" not in said and now() < end:
        said += cluster.fifo.hear()
        if "V" in said:
            check(not os.path.exists(f"/proc/{postmaster}"), "the watchdog was stopped before the server")
        time.sleep(0.02)
    check("V" in said, "the watchdog still runs without a server")
    node.start()
    cluster.wait_primary(60)
    check("Ctimeout" in cluster.fifo.hear(), "it was not started again")


def stopped_guard_pets_no_more(cluster):
    """The host would be reset: nothing is said for longer than the timeout, and no magic close."""
    node = cluster.wait_primary()
    guards = [pid for pid in node.guards() if os.path.basename(socket_of(pid)) == "guard.sock"]
    check(len(guards) == 1, f"guards of the server: {guards}")
    send_signal(guards[0], signal.SIGSTOP)
    try:
        time.sleep(0.2)
        cluster.fifo.hear()
        time.sleep(4)
        said = cluster.fifo.hear()
        check(said == "", f"the watchdog heard {said!r}")
    finally:
        send_signal(guards[0], signal.SIGCONT)
    cluster.wait_primary(60)


def socket_of(guard):
    with open(f"/proc/{guard}/cmdline", "rb") as file:
        return file.read().decode().split("\0")[1]


def missing_watchdog_bars(cluster):
    """Required and not there: this node does not become primary, and says why; with it, it does."""
    node = cluster.wait_primary()
    node.kill_node()
    cluster.fifo.remove()
    node.start()
    wait_until("the server runs as a standby", lambda: node.status().get("role") == "replica"
               and node.status().get("state") == "running", 60, 0.1)
    time.sleep(cluster.ttl + 2)
    status = node.status()
    check(status.get("watchdog_failed") is True, f"watchdog_failed is not shown: {status}")
    check("watchdog" in status["baton"]["problem"], f"the problem is {status['baton']['problem']!r}")
    check(not node.is_primary(), "it became primary without its watchdog")
    node.kill_node()
    cluster.fifo.make()
    node.start()
    cluster.wait_primary(60)


@group(watchdog_runs, watchdog_outlives_the_agent, stopped_guard_pets_no_more, missing_watchdog_bars, seconds=31)
def watchdog():
    return WatchedCluster(os.path.join(new_folder(), "cluster"))


# --- the packet filter -------------------------------------------------------------------------------------------------

class GateNode(Node):
    """Its agent may change the packet filter, as AmbientCapabilities=CAP_NET_ADMIN of a unit makes it."""

    def start(self, program=None):
        assert self.agent is None or self.agent.poll() is not None
        words = as_user() + ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
        with open(self.log, "ab") as log:
            self.agent = subprocess.Popen(
                self.inside() + words + [program or self.cluster.baton, "agent", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env={"PATH": os.environ["PATH"], "LANG": "C"})
        self.cluster.own(self.log)

    def tables(self):
        return subprocess.run(
            self.inside() + ["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


class GateCluster(Cluster):
    node_class = GateNode


class RemoteWriter(netns.LocalWriter):
    """The workload in one namespace, at the server of another."""

    def __init__(self, cluster, at, node):
        self.log = os.path.join(cluster.folder, f"remote-{node.name}.log")
        self.process = subprocess.Popen(
            at.inside() + [LOAD, self.log, node.conninfo()], stdin=subprocess.DEVNULL)


def gate_follows_the_primary(cluster):
    """The table is there on the primary and on nobody else, and the server has no right to change it."""
    cluster.start()
    cluster.wait_healthy(90)
    primary = cluster.primary()
    check("tcp sport 5432" in primary.tables(), f"no rule on the primary: {primary.tables()}")
    time.sleep(cluster.ttl + 1)
    check("5432 timeout" in primary.tables(), "the port is not in the set any more")
    for node in cluster.standbys():
        check(node.tables().strip() == "", f"{node.name}, a standby, has {node.tables()}")
    with open(f"/proc/{primary.postmaster()}/status", encoding="ascii") as file:
        granted = [line for line in file if line.startswith("CapEff")][0].split()[1]
    check(int(granted, 16) & CAP_NET_ADMIN == 0, f"the server may change the packet filter: {granted}")


def stalled_agent_and_guard(cluster):
    """Agent and guard are stopped and the server is not: no acknowledgement reaches a client once another node leads."""
    primary = cluster.primary()
    writer = RemoteWriter(cluster, cluster.standbys()[0], primary)
    wait_until("the writer writes", lambda: len(writer.acks()) > 10, 15)
    since = now()
    stopped = [primary.agent.pid] + primary.guards()
    for pid in stopped:
        send_signal(pid, signal.SIGSTOP)
    try:
        new = cluster.wait_primary(cluster.ttl + 20, but=primary)
        first = netns.first_write(new, since)
        check(primary.postmaster() is not None, "the server is gone: nothing is proven")
        time.sleep(3)
        check(primary.postmaster() is not None, "the server is gone: nothing is proven")
        last = max(writer.acks())
        check(last < first, f"an acknowledgement arrived {(last - first) * 1000:.0f} ms after the new one's first")
        note(f"last acknowledgement {last - since:.2f} s after the stop, the new primary's first at {first - since:.2f} s")
    finally:
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)
        writer.stop()
    cluster.wait_healthy(90)
    check(cluster.primary() is not primary, "the old primary leads again")
    check(primary.tables().strip() == "", f"a standby has {primary.tables()}")


def gate_that_does_not_work_is_shown(cluster):
    """Without the capability there is a primary all the same, and the member says what does not work."""
    node = cluster.wait_primary()
    node.kill_node()
    new = cluster.wait_primary(cluster.ttl + 20, but=node)
    Node.start(node)
    wait_until(f"{node.name} says it", lambda: "fence.nftables" in node.status().get("baton", {}).get("problem", ""),
               60, 0.2)
    check(new.is_primary(), "the primary moved")


@group(gate_follows_the_primary, stalled_agent_and_guard, gate_that_does_not_work_is_shown, seconds=34)
def packet_filter():
    """Without baton_fence, which would stop the acknowledgements as well: the packet filter alone must do it."""
    reason = netns.cannot()
    if reason:
        return reason
    hosts = netns.Network(3)
    cluster = GateCluster(new_folder(), ttl=5, loop_wait=1, namespaces=hosts.hosts,
                          node_settings="  fence: off\nwatchdog:\n  mode: off\nfence:\n  nftables: true\n")
    cluster.network = hosts
    return cluster
