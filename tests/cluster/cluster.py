"""A real cluster for demo, tests and bench: agents, guards, PostgreSQL and etcd as processes of an unprivileged user.

Nodes are called n1, n2, ...; on loopback each has ports of its own, in network namespaces each has an address of its own.
Everything lives below one folder. Only processes started here are ever signalled, by pid; what a node runs is found
through its guards' sockets folder and the process tree, never by name.
"""

import contextlib
import glob
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import inside

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("BATON_BUILD", os.path.join(TOP, "build"))
LOAD = os.path.join(BUILD, "tests", "cluster", "baton-load")
# Not the one in /usr/bin of Debian: that is a script in Perl that looks for this one, and costs three times as much.
PSQL = max(glob.glob("/usr/lib/postgresql/*/bin/psql"), key=lambda path: float(path.split("/")[4]), default="psql")
LOAD_PAUSE_MS = 4  # as fast as it can, a workload takes the processors from the tests beside it
USER = os.environ.get("BATON_USER", "nobody")
PASSWORD = "demo-password"


class Failure(Exception):
    """Something that had to happen did not."""


class Skip(Exception):
    """A test cannot run here; the text says why."""


def now():
    return time.monotonic()


def as_user():
    """The words before a command that make it run as the unprivileged user."""
    if os.getuid() != 0:
        return []
    entry = pwd.getpwnam(USER)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]


CLAIMS = []


def claim_port(port):
    """Whether no other test has it: whoever has port N holds this socket to its end (src/io/port_test.h)."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0baton-test-port-{port}")
    except OSError:
        claim.close()
        return False
    CLAIMS.append(claim)
    return True


def free_ports(count, host="127.0.0.1"):
    """Ports that nobody listens on at this moment, and that were given to no other test. They lie below those that the kernel
    takes for outgoing connections: a connection would be in the way of a server that starts later."""
    ports = []
    while len(ports) < count:
        port = random.randrange(10240, 32768)
        with socket.socket() as one:
            try:
                one.bind((host, port))
            except OSError:
                continue
        if claim_port(port):
            ports.append(port)
    return ports


def wait_until(what, condition, seconds=30.0, pause=0.02):
    """Return the first true value of condition(); Failure after so many seconds."""
    end = now() + seconds
    while True:
        value = condition()
        if value:
            return value
        if now() > end:
            raise Failure(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def children_of(pid):
    """All descendants of a process."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                parents.setdefault(int(fields[1]), []).append(int(name))
            except OSError:
                pass
    found, todo = [], [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def send_signal(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Node:
    """One host: an agent and what it has started."""

    def __init__(self, cluster, name, host, ports, namespace=None):
        self.cluster = cluster
        self.name = name
        self.host = host
        self.rest, self.pg, self.client, self.peer = ports
        self.namespace = namespace
        self.folder = os.path.join(cluster.folder, name)
        self.data = os.path.join(self.folder, "data")
        self.config = os.path.join(self.folder, "baton.yml")
        self.log = os.path.join(self.folder, "baton.log")
        self.agent = None
        self.environment = {}  # of the agent, besides what it has always
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        cluster.own(self.folder)

    def write_config(self):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(self.cluster.render_config(self))
        os.chmod(self.config, 0o600)
        self.cluster.own(self.config)

    def inside(self):
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def start(self, program=None):
        """Start the agent (again)."""
        assert self.agent is None or self.agent.poll() is not None
        with open(self.log, "ab") as log:
            self.agent = subprocess.Popen(
                self.inside() + as_user() + [program or self.cluster.baton, "agent", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=True, env={"PATH": os.environ["PATH"], "LANG": "C"} | self.environment)
        self.cluster.own(self.log)

    def guards(self):
        """Pids of the guards of this node: their command line names a socket below its folder."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if words and os.path.basename(words[0]) == "baton-guard" and len(words) > 1 \
                    and words[1].startswith(self.folder + "/"):
                found.append(int(name))
        return found

    def postmaster(self):
        try:
            with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as file:
                pid = int(file.readline())
            return pid if is_alive(pid) else None
        except (OSError, ValueError):
            return None

    def all_pids(self):
        """Agent, guards and everything below them."""
        pids = []
        if self.agent is not None and self.agent.poll() is None:
            pids.append(self.agent.pid)
            pids += children_of(self.agent.pid)
        for guard in self.guards():
            pids.append(guard)
            pids += children_of(guard)
        return list(dict.fromkeys(pids))

    def signal_node(self, number):
        """Every process of the node at once, as a power failure (SIGKILL) or a freeze (SIGSTOP, SIGCONT) does; also those
        that were forked while the others were found, which would go on alone."""
        pids = []
        while more := [pid for pid in self.all_pids() if pid not in pids]:
            for pid in more:
                send_signal(pid, number)
            pids += more
            if number == signal.SIGCONT:
                break
        return pids

    def kill_node(self):
        pids = self.signal_node(signal.SIGKILL)
        # A guard that was asked to die may have left children of its own that were forked meanwhile.
        for _ in range(100):
            left = [pid for pid in self.all_pids() + pids if is_alive(pid)]
            if not left:
                break
            for pid in left:
                send_signal(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.reap()

    def kill_agent(self):
        send_signal(self.agent.pid, signal.SIGKILL)
        self.reap()

    def kill_server(self):
        """The postmaster and all its processes."""
        postmaster = self.postmaster()
        if postmaster is None:
            raise Failure(f"{self.name} has no server to kill")
        for pid in [postmaster] + children_of(postmaster):
            send_signal(pid, signal.SIGKILL)

    def walreceivers(self):
        """The process that receives the log, if there is one."""
        found = []
        for pid in children_of(self.postmaster()):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if b"walreceiver" in file.read():
                        found.append(pid)
            except OSError:
                pass
        return found

    def signal_walreceiver(self, number):
        """With SIGSTOP the standby falls behind: there must be one to stop, it may just have been told to follow another."""
        if number == signal.SIGSTOP:
            wait_until(f"{self.name} receives", self.walreceivers, 20)
        for pid in self.walreceivers():
            send_signal(pid, number)

    def reap(self):
        if self.agent is not None:
            try:
                self.agent.wait(timeout=10)
            except subprocess.TimeoutExpired as late:
                raise Failure(f"the agent of {self.name} does not end") from late

    def stop(self):
        if self.agent is not None and self.agent.poll() is None:
            send_signal(self.agent.pid, signal.SIGTERM)

    def get(self, path, timeout=2.0):
        """(status, body) of a GET on the REST port; (0, "") when nobody answers."""
        if self.namespace:
            return inside.request(self.namespace, self.host, self.rest, "GET", path, timeout)
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.rest}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self):
        """The JSON of /patroni, {} when nobody answers."""
        code, body = self.get("/patroni")
        try:
            return json.loads(body) if code else {}
        except ValueError:
            return {}

    def conninfo(self, user="postgres", password=None):
        return (f"host={self.host} port={self.pg} user={user} password={password or PASSWORD} "
                f"dbname=postgres connect_timeout=2 application_name=baton-load")

    def sql(self, query, timeout=5.0):
        """Rows of a query as text, one a line; Failure when it fails."""
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        patience = f" connect_timeout={max(2, int(timeout) - 1)}"  # a busy machine may need seconds to let somebody in
        result = subprocess.run(
            enter + [PSQL, "-XAtq", "-d", self.conninfo() + patience, "-c", query],
            capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            raise Failure(f"{self.name}: {query}: {result.stderr.strip()}")
        return result.stdout.strip()

    def is_primary(self):
        return self.get("/primary")[0] == 200

    def lease_page(self):
        """Where the agent tells the server until when it may commit."""
        return "/dev/shm/" + ("baton.lease" + self.data + ".baton").replace("/", "%")


class Cluster:
    """Nodes, and what one asks of them together."""

    node_class = Node

    def __init__(self, folder, count=3, ttl=30, loop_wait=10, etcd=None, settings="", node_settings="",
                 namespaces=None):
        self.folder = folder
        self.ttl = ttl
        self.loop_wait = loop_wait
        self.etcd = etcd
        self.settings = settings
        self.node_settings = node_settings
        os.makedirs(folder, mode=0o755, exist_ok=True)
        self.own(folder)
        self.baton = self.install()
        self.nodes = []
        for at in range(count):
            if namespaces:
                host, ports, namespace = namespaces[at].host, (8008, 5432, 2379, 2380), namespaces[at].name
            else:
                host, ports, namespace = "127.0.0.1", free_ports(4), None
            self.nodes.append(self.node_class(self, f"n{at + 1}", host, ports, namespace))
        for node in self.nodes:
            node.write_config()
        self.load = None
        self.load_log = os.path.join(folder, "load.log")
        self.load_read = ("", 0, [], {})
        self.excused = []  # (first, last) seconds of which an acknowledged row may be lost

    def install(self):
        """Copies of the programs where the unprivileged user can reach them (a checkout may lie in /root)."""
        programs = os.path.join(self.folder, "bin")
        os.makedirs(programs, mode=0o755, exist_ok=True)
        for name in ("baton", "baton-guard"):
            shutil.copy(os.path.join(BUILD, name), programs)
        for module in glob.glob(os.path.join(BUILD, "ext", "baton_fence-*.so")):
            os.makedirs(os.path.join(programs, "ext"), exist_ok=True)
            shutil.copy(module, os.path.join(programs, "ext"))
        return os.path.join(programs, "baton")

    def own(self, path):
        if os.getuid() == 0:
            entry = pwd.getpwnam(USER)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def render_config(self, node):
        if self.etcd:
            store = "etcd3:\n  hosts: [%s]\n" % ", ".join(f"'{host}'" for host in self.etcd)
        else:
            peers = "".join(f"  - {one.host}:{one.rest}\n" for one in self.nodes)
            store = (f"peers:\n{peers}store:\n  client: {node.host}:{node.client}\n"
                     f"  peer: {node.host}:{node.peer}\n  data_dir: {node.folder}/store\n")
        retry = max(1, min(10, (self.ttl - self.loop_wait) // 2))
        return f"""scope: demo
name: {node.name}
restapi:
  listen: {node.host}:{node.rest}
  connect_address: {node.host}:{node.rest}
{store}
bootstrap:
  dcs:
    ttl: {self.ttl}
    loop_wait: {self.loop_wait}
    retry_timeout: {retry}
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 120
        shared_buffers: 16MB
{self.settings}
postgresql:
  listen: {node.host}:{node.pg}
  connect_address: {node.host}:{node.pg}
  data_dir: {node.data}
  authentication:
    superuser:
      username: postgres
      password: {PASSWORD}
{self.node_settings}"""

    def start(self):
        for node in self.nodes:
            node.start()

    def node(self, name):
        return next(one for one in self.nodes if one.name == name)

    def primary(self):
        """The node whose /primary answers 200, or None."""
        return next((one for one in self.nodes if one.is_primary()), None)

    def standbys(self):
        return [one for one in self.nodes if one is not self.primary()]

    def streaming(self):
        return [one for one in self.nodes if one.status().get("replication_state") == "streaming"]

    def wait_primary(self, seconds=30.0, but=None):
        def find():
            node = self.primary()
            return node if node is not None and node is not but else None
        return wait_until("a primary" + (f" other than {but.name}" if but else ""), find, seconds)

    def wait_streaming(self, count, seconds=60.0):
        wait_until(f"{count} standbys stream", lambda: len(self.streaming()) >= count, seconds, 0.1)

    def wait_healthy(self, seconds=60.0):
        """One primary, all others stream from it on its timeline."""
        def is_healthy():
            statuses = [one.status() for one in self.nodes]
            primaries = [one for one in statuses if one.get("role") == "primary" and one.get("state") == "running"]
            streaming = [one for one in statuses if one.get("replication_state") == "streaming"]
            return len(primaries) == 1 and len(streaming) == len(self.nodes) - 1 and \
                all(one.get("timeline") == primaries[0].get("timeline") for one in streaming)
        wait_until("one primary, all others stream from it", is_healthy, seconds, 0.1)

    def start_load(self):
        self.load = subprocess.Popen(
            [LOAD, self.load_log] + [one.conninfo() for one in self.nodes],
            stdin=subprocess.DEVNULL, env=dict(os.environ, BATON_LOAD_PAUSE_MS=str(LOAD_PAUSE_MS)))
        wait_until("the workload writes", lambda: len(self.outcomes("ok")) > 10, 15)

    def stop_load(self):
        self.load.terminate()
        self.load.wait(timeout=15)
        self.load = None

    def attempts(self):
        """(seconds, outcome, id, server) of each line of the workload's log. Only what is new in it is read: tests ask often."""
        if self.load_read[0] != self.load_log:
            self.load_read = (self.load_log, 0, [], {})
        _, position, rows, by_outcome = self.load_read
        try:
            with open(self.load_log, "rb") as file:
                file.seek(position)
                for line in file:
                    if line.endswith(b"\n"):
                        position += len(line)
                        ns, outcome, number, server = line.decode("ascii").split()
                        rows.append((int(ns) / 1e9, outcome, int(number), int(server)))
                        by_outcome.setdefault(outcome, []).append(rows[-1])
        except FileNotFoundError:
            pass
        self.load_read = (self.load_log, position, rows, by_outcome)
        return rows

    def outcomes(self, outcome):
        self.attempts()
        return list(self.load_read[3].get(outcome, ()))

    def longest_pause(self, begin, end=None):
        """(seconds, since when) of the longest pause between two acknowledgements that ends after `begin`."""
        times = [row[0] for row in self.outcomes("ok")]
        end = end or now()
        pauses = [(later - earlier, earlier) for earlier, later in zip(times, times[1:]) if later >= begin and earlier <= end]
        if not pauses:
            raise Failure("no row was acknowledged after the fault")
        return max(pauses)

    def longest_gap(self, begin, end=None):
        return self.longest_pause(begin, end)[0]

    def excuse_last_second(self, begin):
        """A server without synchronous standbys was killed and nobody read its log: what it acknowledged in the last second
        before the pause that followed `begin` may be lost."""
        since = self.longest_pause(begin)[1]
        self.excused.append((since - 1, since))

    def wait_acks(self, count=20, seconds=60.0):
        """So many more rows are acknowledged."""
        start = len(self.outcomes("ok"))
        wait_until(f"{count} more rows are acknowledged", lambda: len(self.outcomes("ok")) >= start + count, seconds)

    def lost_rows(self):
        """Ids that were acknowledged and are not on the primary; Failure when the primary has ids that nobody sent."""
        # What was acknowledged is read before the rows, what was tried after them: the workload may go on meanwhile.
        acknowledged = {row[2] for row in self.outcomes("ok") if not any(first <= row[0] <= last for first, last in self.excused)}
        if not acknowledged:
            raise Failure("no row was acknowledged at all: nothing is proven")
        primary = self.wait_primary()
        result = subprocess.run(
            primary.inside() + [LOAD, "--read", primary.conninfo()], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Failure(f"cannot read the rows of {primary.name}: {result.stderr}")
        present = {int(line) for line in result.stdout.split()}
        attempts = self.attempts()
        if present - {row[2] for row in attempts if row[1] == "try"}:
            raise Failure(f"{primary.name} has rows that were never sent")
        if present & {row[2] for row in attempts if row[1] == "fail"}:
            raise Failure(f"{primary.name} has rows that were refused")
        return sorted(acknowledged - present)

    def stop(self):
        """Stop everything: the agents with their servers, then whatever is left."""
        if self.load is not None:
            self.stop_load()
        for node in self.nodes:
            node.stop()
        end = now() + 20
        while now() < end and any(one.agent is not None and one.agent.poll() is None for one in self.nodes):
            time.sleep(0.05)
        for node in self.nodes:
            node.kill_node()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(node.lease_page())

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder)
