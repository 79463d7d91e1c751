"""The cluster that faults are made in: three hosts and one for clients as network namespaces, small disks, and the writers.

A fault is made through a World: processes of a node by kind, cuts of its wire, its disk, its store. Everything that a fault
changed is undone by `heal`, whatever the fault's own end did.
"""

import fcntl
import glob
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cluster"))
from cluster import TOP, Cluster, Failure, Node, as_user, children_of, is_alive, send_signal, wait_until
import inside
import netns
from history import newest_switches

WRITER = os.path.join(TOP, "build", "tests", "chaos", "baton-writer")  # BATON_BUILD may be another tree's
EXT4_SHUTDOWN = 0x8004587D  # ext4's ioctl: the file system stops, and forgets what it has not written
MODES = {
    "async": "",
    "sync": "    synchronous_mode: true\n",
    "quorum": "    synchronous_mode: quorum\n    synchronous_node_count: 1\n",
    "strict": "    synchronous_mode: true\n    synchronous_mode_strict: true\n",
    "quorum-strict": "    synchronous_mode: quorum\n    synchronous_node_count: 1\n    synchronous_mode_strict: true\n",
}
TABLES = """
CREATE TABLE chaos_rows (id bigint PRIMARY KEY, term text);
CREATE TABLE chaos_probe (id bigint PRIMARY KEY, term text);
CREATE TABLE chaos_loose (id bigint PRIMARY KEY, term text);
CREATE TABLE chaos_lists (k bigint PRIMARY KEY, v bigint[] NOT NULL);
CREATE TABLE chaos_final (at timestamptz DEFAULT clock_timestamp());
"""


def moment():
    """Seconds on the clock of the histories."""
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace").replace("\0", " ")
    except OSError:
        return ""


class ChaosNode(Node):
    """A node, its wire, its disks and its processes by kind."""

    def inside(self):
        """Not `ip netns exec`: that makes a mount namespace, whose processes keep a dead disk mounted."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def call(self, method, path, timeout=2.0, body=None):
        """(status, body) of a request from the node itself: cuts of its wire do not matter."""
        return inside.request(self.namespace, self.host, self.rest, method, path, timeout, body)

    def run(self, *words, seconds=30.0, user=True):
        """A command on the node; what came of it."""
        return subprocess.run(
            self.inside() + (as_user() if user else []) + list(words), capture_output=True, text=True, check=False,
            timeout=seconds, stdin=subprocess.DEVNULL, cwd="/", env={"PATH": os.environ["PATH"], "LANG": "C"})

    def start_with(self, *prefix, log=None):
        """Start the agent behind other words, which run as root."""
        assert self.agent is None or self.agent.poll() is not None
        with open(log or self.log, "ab") as file:
            self.agent = subprocess.Popen(
                self.inside() + list(prefix) + as_user() + [self.cluster.baton, "agent", self.config],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=self.folder, start_new_session=True,
                env={"PATH": os.environ["PATH"], "LANG": "C"})

    # --- processes ---

    def server_pids(self, word=""):
        """Processes of the database whose title has a word; the postmaster is first when the word is empty."""
        postmaster = self.postmaster()
        if postmaster is None:
            return []
        return [pid for pid in [postmaster] + children_of(postmaster) if word in command_line(pid)]

    def store_pids(self):
        return [pid for pid in self.all_pids() if command_line(pid).split(" ")[0].endswith("etcd")]

    def server_guard(self):
        """The guard that the database's postmaster is a child of."""
        postmaster = self.postmaster()
        return next((one for one in self.guards() if postmaster in children_of(one)), None)

    def kill_node(self):
        """Also a server that somebody else has started."""
        super().kill_node()
        for pid in self.server_pids():
            send_signal(pid, signal.SIGKILL)

    def is_running(self):
        return self.agent is not None and self.agent.poll() is None

    # --- the wire ---

    def cut(self, *rules, table="chaos"):
        """nft rules, "in ..." or "out ...", for what comes and goes over the wire; `drop` and the like is in the rule."""
        parts = {"in": [], "out": []}
        for rule in rules:
            way, _, rest = rule.partition(" ")
            parts[way].append(f"  {'i' if way == 'in' else 'o'}ifname eth0 {rest}\n")
        text = "".join(
            f" chain {way} {{\n  type filter hook {hook} priority 0;\n{''.join(parts[way])} }}\n"
            for way, hook in (("in", "input"), ("out", "output")))
        done = subprocess.run(["ip", "netns", "exec", self.namespace, "nft", "-f", "-"],
                              input=f"table inet {table} {{\n{text}}}\n", text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise Failure(f"nft does not take {rules}: {done.stderr}")

    def cut_from(self, *others, way="both", what=""):
        """Drop what goes to or comes from these hosts; WHAT narrows it down."""
        rules = []
        for other in others:
            if way in ("both", "in"):
                rules.append(f"in ip saddr {other.host} {what} drop")
            if way in ("both", "out"):
                rules.append(f"out ip daddr {other.host} {what} drop")
        self.cut(*rules)

    def slow_wire(self, *words):
        netns.command("tc", "-n", self.namespace, "qdisc", "replace", "dev", "eth0", "root", *words)

    def mend(self):
        for words in (["ip", "netns", "exec", self.namespace, "nft", "delete", "table", "inet", "chaos"],
                      ["tc", "-n", self.namespace, "qdisc", "del", "dev", "eth0", "root"]):
            subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # --- the disks ---

    def mount(self):
        image = os.path.join(self.folder, "disk.img")
        if not os.path.exists(image):
            with open(image, "wb") as file:
                file.truncate(self.cluster.disk_mb << 20)
            netns.command("mkfs.ext4", "-q", "-F", "-m", "0", image)
        netns.command("mount", "-o", "loop", image, os.path.join(self.folder, "disk"))
        self.cluster.own(os.path.join(self.folder, "disk"))

    def mount_small(self):
        for name, size in (("run", 8), ("kv", 400)):
            path = os.path.join(self.folder, name)
            os.makedirs(path)
            netns.command("mount", "-t", "tmpfs", "-o", f"size={size}m,mode=755", "baton-chaos", path)
            self.cluster.own(path)

    def unmount(self, *names):
        for name in names or ("disk", "run", "kv"):
            subprocess.run(["umount", "-l", os.path.join(self.folder, name)], check=False, stderr=subprocess.DEVNULL)

    def disk_dies(self):
        """Every write from now on fails, and what was not flushed is forgotten."""
        fd = os.open(os.path.join(self.folder, "disk"), os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(fd)

    def disk_returns(self):
        """After kill_node: the file system as its journal has it."""
        netns.command("umount", os.path.join(self.folder, "disk"))
        self.mount()


class ChaosCluster(Cluster):
    node_class = ChaosNode
    disk_mb = 900

    def render_config(self, node):
        text = super().render_config(node).replace("shared_buffers: 16MB",
                                                   "shared_buffers: 16MB\n        max_wal_size: 96MB\n"
                                                   "        min_wal_size: 32MB\n        wal_keep_size: 48MB")
        if self.has_disks:
            text = text.replace(f"{node.folder}/store\n", f"{node.folder}/kv/store\n")
            text += f"  runtime_dir: {node.folder}/run/baton\n"
        return text + node.extra

    def use_disks(self):
        for node in self.nodes:
            os.makedirs(os.path.join(node.folder, "disk"))
            node.mount()
            node.mount_small()
            node.data = os.path.join(node.folder, "disk", "data")
            node.write_config()


ChaosNode.extra = ""
ChaosCluster.has_disks = False


class StoreHost:
    """An external store of three members on a host of its own."""

    def __init__(self, host, folder):
        self.host, self.namespace, self.folder = host.host, host.name, folder
        self.clients = [f"{self.host}:{2379 + 10 * at}" for at in range(3)]
        self.processes = [None] * 3
        for at in range(3):
            self.start(at)
        wait_until("etcd answers", self.is_healthy, 20, 0.2)

    def start(self, at):
        peers = ",".join(f"e{one}=http://{self.host}:{2380 + 10 * one}" for one in range(3))
        url, peer = f"http://{self.clients[at]}", f"http://{self.host}:{2380 + 10 * at}"
        with open(os.path.join(self.folder, f"etcd{at}.log"), "ab") as log:
            self.processes[at] = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}"] + as_user() +
                ["etcd", "--name", f"e{at}", "--data-dir", self.data(at), "--listen-client-urls", url,
                 "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", peers, "--heartbeat-interval", "50", "--election-timeout", "500"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def data(self, at):
        return os.path.join(self.folder, f"etcd{at}")

    def pid(self, at):
        return self.processes[at].pid

    def kill(self, at):
        send_signal(self.pid(at), signal.SIGKILL)
        self.processes[at].wait()

    def heal(self):
        for at in range(3):
            if self.processes[at].poll() is None:
                send_signal(self.pid(at), signal.SIGCONT)
            else:
                self.start(at)

    def ctl(self, *words, one=False):
        """etcdctl at all members, or at one of them."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, "etcdctl", "--endpoints",
             ",".join(self.clients[:1] if one else self.clients), *words],
            capture_output=True, text=True, check=False, timeout=10,
            env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"})

    def is_healthy(self):
        return self.ctl("endpoint", "health").returncode == 0

    def leader(self):
        said = json.loads(self.ctl("endpoint", "status", "-w", "json").stdout)
        return next(at for at, one in enumerate(said) if one["Status"]["header"]["member_id"] == one["Status"]["leader"])

    def stop(self):
        for at in range(3):
            if self.processes[at].poll() is None:
                self.kill(at)


class Writers:
    """The clients: some follow the primary, some stay with a server and share its host, a probe a server."""

    def __init__(self, world):
        self.world, self.processes, self.paths = world, [], {}
        self.number = 0

    def start(self, kind, pause_ms, nodes, host, name=None):
        """One client on a host (an object with `inside`); its log."""
        self.number += 1
        path = os.path.join(self.world.folder, f"{name or kind}-{self.number}.log")
        process = subprocess.Popen(
            host.inside() + [WRITER, kind, path, str(self.number), str(pause_ms)] +
            [f"{one.name}={one.conninfo()}" for one in nodes], stdin=subprocess.DEVNULL)
        self.processes.append(process)
        self.paths.setdefault(name or kind, []).append(path)
        return process

    def start_all(self):
        nodes = self.world.cluster.nodes
        for _ in range(3):
            self.start("rows", 8, nodes, self.world.clients)
        for node in nodes:
            self.start("rows", 40, [node], node, "pinned")
            self.start("probe", 50, [node], node)
        for _ in range(2):
            self.start("lists", 25, nodes, self.world.clients)
        self.start("loose", 50, nodes, self.world.clients)

    def are_alive(self):
        return all(one.poll() is None for one in self.processes)

    def stop(self):
        for one in self.processes:
            send_signal(one.pid, signal.SIGCONT)
            send_signal(one.pid, signal.SIGTERM)
        for one in self.processes:
            one.wait(timeout=15)

    def kill(self):
        for one in self.processes:
            if one.poll() is None:
                one.kill()
                one.wait()


class ClientHost:
    """The namespace that clients live in."""

    def __init__(self, host):
        self.host, self.namespace = host.host, host.name

    def inside(self):
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]


class World:
    def __init__(self, folder, mode="async", store="own", disks=True, ttl=5):
        self.folder, self.mode, self.store_kind, self.ttl = folder, mode, store, ttl
        self.network = netns.Network(5 if store == "etcd" else 4)
        self.clients = ClientHost(self.network.hosts[3])
        self.store = StoreHost(self.network.hosts[4], folder) if store == "etcd" else None
        self.cluster = ChaosCluster(
            os.path.join(folder, "cluster"), ttl=ttl, loop_wait=1, etcd=self.store.clients if self.store else None,
            namespaces=self.network.hosts, settings="    maximum_lag_on_failover: 64MB\n" + MODES[mode])
        self.has_disks = disks
        if disks:
            self.cluster.has_disks = True
            self.cluster.use_disks()
        self.writers = Writers(self)
        self.notes = []
        self.down = set()  # nodes that stay down for a row's purpose
        self.others = []   # processes of a fault: strace, baton, psql

    @property
    def nodes(self):
        return self.cluster.nodes

    def say(self, text):
        self.notes.append(text)

    def hold(self, seconds):
        time.sleep(seconds)

    def primary(self):
        return self.cluster.wait_primary(3 * self.ttl)

    def standbys(self, chance=None):
        primary = self.primary()
        rest = [one for one in self.nodes if one is not primary]
        if chance is not None:
            chance.shuffle(rest)
        return rest

    def others_of(self, node):
        return [one for one in self.nodes if one is not node]

    def timeline(self):
        """The newest timeline that a running server knows."""
        return max((one.status().get("timeline") or 0 for one in self.nodes), default=0)

    def switches(self):
        """How many ancestors the primary's timeline has: numbers may be left out, so timelines do not count."""
        return len(newest_switches(os.path.join(self.primary().data, "pg_wal"))[1])

    def begin(self):
        self.cluster.start()
        self.cluster.wait_healthy(90)
        self.primary().sql(TABLES)
        self.writers.start_all()
        wait_until("the writers write", lambda: self.acks() > 50, 20, 0.2)

    def acks(self):
        count = 0
        for path in self.writers.paths.get("rows", []) + self.writers.paths.get("pinned", []):
            if os.path.exists(path):
                with open(path, "rb") as file:
                    count += file.read().count(b" ok ")
        return count

    def spawn(self, words, **more):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   **more)
        self.others.append(process)
        return process

    def store_call(self, *words):
        """etcdctl at whatever store there is, from the first node that gets an answer."""
        if self.store:
            return self.store.ctl(*words)
        for node in self.nodes:
            done = subprocess.run(
                node.inside() + ["etcdctl", "--endpoints", f"{node.host}:{node.client}", *words], capture_output=True,
                text=True, check=False, timeout=10, env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"})
            if done.returncode == 0:
                return done
        raise Failure(f"the store does not answer: {done.stderr.strip()}")

    def change_dynamic(self, change):
        """Change the dynamic configuration in the store; what it was."""
        key = "/service/demo/config"
        before = self.store_call("get", key, "--print-value-only").stdout.strip()
        value = json.loads(before)
        change(value)
        self.store_call("put", key, json.dumps(value))
        return before

    def put_dynamic(self, text):
        self.store_call("put", "/service/demo/config", text)

    def clear_replaced(self):
        """baton keeps the data that it has replaced; when all is well somebody removes it, for the disks are small."""
        for node in self.nodes:
            store = os.path.join(node.folder, "kv" if self.has_disks else "", "store")
            for path in glob.glob(node.data + ".baton-[0-9]*") + glob.glob(store + ".*-[0-9]*"):
                shutil.rmtree(path)

    def heal(self):
        """Undo whatever is still done: wires, stopped processes, tools, dead agents."""
        for process in self.others:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.others = []
        if self.store:
            self.store.heal()
        for process in self.writers.processes:
            send_signal(process.pid, signal.SIGCONT)
        for node in self.nodes:
            node.mend()
            for pid in node.all_pids():
                send_signal(pid, signal.SIGCONT)
            for path in glob.glob(os.path.join(node.folder, "*", "ballast")):
                os.remove(path)
            if not node.is_running():
                node.start()

    def state(self):
        """node -> (role, timeline, does it stream)."""
        return {one.name: (said.get("role"), said.get("timeline"), said.get("replication_state") == "streaming")
                for one, said in ((one, one.status()) for one in self.nodes)}

    def end(self):
        self.writers.kill()
        for node in self.nodes:
            node.kill_node()
        if self.store:
            self.store.stop()
        if self.has_disks:
            for node in self.nodes:
                node.unmount()
        self.network.stop()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
