"""The two clusters that bench/run compares: baton and Debian's Patroni, of the same nodes, with the same faults."""

import dataclasses
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "cluster"))
from cluster import Cluster, Failure, LOAD, Node, as_user, children_of, is_alive, now, send_signal, wait_until, PASSWORD
from sync import wait_key


def pg_bin():
    return max((os.path.join("/usr/lib/postgresql", one, "bin") for one in os.listdir("/usr/lib/postgresql")),
               key=lambda path: float(path.split("/")[-2]))


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a cluster is made with."""
    ttl: int
    loop_wait: int
    mode: str = "off"   # synchronous_mode
    fence: str = "auto"  # baton's postgresql.fence


class Side(Cluster):
    """One of the two, a fault after the other. Each round has a workload, a table and a log of its own."""

    title = ""

    def __init__(self, folder, etcd, setting):
        self.setting = setting
        self.scope = f"{self.title}-{setting.ttl}-{setting.mode}-{setting.fence}"
        self.rounds = 0
        mode = "" if setting.mode == "off" else f"    synchronous_mode: {setting.mode}\n"
        super().__init__(os.path.join(folder, self.scope), ttl=setting.ttl, loop_wait=setting.loop_wait, etcd=etcd,
                         settings=mode, node_settings=f"  fence: {setting.fence}\n")
        try:
            self.start()
            self.wait_healthy(180)
        except BaseException:
            self.stop()  # nobody else knows of it yet
            raise

    def begin_round(self, patience_ms):
        """All is well, and one client writes into an empty table."""
        self.wait_healthy(180)
        if self.setting.mode != "off":
            self.wait_sync()
        time.sleep(2 * min(self.loop_wait, 3))
        self.wait_healthy(30)
        self.primary().sql("DROP TABLE IF EXISTS baton_load")
        self.rounds += 1
        self.load_log = os.path.join(self.folder, f"load-{self.rounds}.log")
        self.load = subprocess.Popen([LOAD, self.load_log] + [one.conninfo() for one in self.nodes],
                                     stdin=subprocess.DEVNULL,
                                     env=dict(os.environ, BATON_LOAD_PATIENCE_MS=str(patience_ms)))
        self.wait_acks(100, 30)

    def end_round(self):
        if self.load is not None:
            self.stop_load()

    def count_lost(self, acknowledged):
        """How many of these ids the primary does not have."""
        if not acknowledged:
            raise Failure("no row was acknowledged at all: nothing is proven")
        node = self.wait_primary()
        result = subprocess.run([LOAD, "--read", node.conninfo()], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Failure(f"cannot read the rows of {node.name}: {result.stderr}")
        return len(set(acknowledged) - {int(line) for line in result.stdout.split()})

    def memory_mb(self):
        total = []
        for node in self.nodes:
            kb = 0
            for pid in node.agent_pids():
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    kb += next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
            total.append(kb / 1024)
        return statistics.median(total)

    def keep_logs(self, folder, fault):
        """What the agents and the workload have said since the fault, for bench/phases."""
        os.makedirs(folder)
        for path, (name, begin) in fault.pop("logs").items():
            if os.path.exists(path):
                with open(path, "rb") as log, open(os.path.join(folder, name), "wb") as kept:
                    log.seek(begin)
                    shutil.copyfileobj(log, kept)
        with open(os.path.join(folder, "load.log"), "w", encoding="ascii") as kept, \
                open(self.load_log, encoding="ascii") as log:
            kept.writelines(line for line in log if int(line.split()[0]) / 1e9 > fault["at"] - 1)
        with open(os.path.join(folder, "round.json"), "w", encoding="ascii") as file:
            json.dump(fault, file)

    def fault(self, node):
        """Call right before the fault: the same instant on the workload's clock and on the logs'."""
        logs = {}
        for one in self.nodes:
            for path, name in ((one.log, f"{one.name}.log"), (one.server_log(), f"{one.name}-server.log")):
                logs[path] = (name, os.path.getsize(path) if os.path.exists(path) else 0)
        return {"victim": node.name, "at": now(), "utc": time.time(), "logs": logs}


class BatonNode(Node):
    def server_log(self):
        return os.path.join(self.data + ".baton", "postgres.log")

    def agent_pids(self):
        return [self.agent.pid] + self.guards()


class BatonSide(Side):
    node_class = BatonNode
    title = "baton"

    def render_config(self, node):
        return super().render_config(node).replace("scope: demo", f"scope: {self.scope}")

    def wait_sync(self):
        wait_key(self, len(self.nodes) - 1 if self.setting.mode == "quorum" else 1)

    def switchover(self, old, new):
        subprocess.run([self.baton, "switchover", "-c", old.config, "--leader", old.name, "--candidate", new.name,
                        "--force"], check=True, stdout=subprocess.DEVNULL)


class PatroniNode(Node):
    """The same node, run by Patroni."""

    def start(self, program=None):
        with open(self.log, "ab") as log:
            self.agent = subprocess.Popen(
                as_user() + ["patroni", self.config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True, env={"PATH": os.environ["PATH"], "LANG": "C"})

    def all_pids(self):
        pids = []
        if self.agent is not None and self.agent.poll() is None:
            pids += [self.agent.pid] + children_of(self.agent.pid)
        postmaster = self.postmaster()
        if postmaster is not None:
            pids += [postmaster] + children_of(postmaster)
        return list(dict.fromkeys(pids))

    def server_log(self):
        return self.log  # Patroni's server writes where Patroni does

    def agent_pids(self):
        return [self.agent.pid]

    def is_primary(self):
        return self.get("/primary")[0] == 200 and self.status().get("state") == "running"


class PatroniSide(Side):
    node_class = PatroniNode
    title = "patroni"

    def switchover(self, old, new):
        body = json.dumps({"leader": old.name, "candidate": new.name}).encode()
        request = urllib.request.Request(f"http://{old.host}:{old.rest}/switchover", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=90) as answer:
            if answer.status != 200:
                raise Failure(f"switchover: {answer.status}")

    def wait_sync(self):
        wait_until("a standby is published as synchronous",
                   lambda: any(one.get("/sync")[0] == 200 for one in self.nodes), 60, 0.2)

    def wait_healthy(self, seconds=60.0):
        """Debian 12's Patroni does not tell the state of replication: its primary's server does."""
        def is_healthy():
            primary = self.primary()
            return primary is not None and \
                primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "2"

        def try_healthy():
            try:
                return is_healthy()
            except Failure:
                return False
        wait_until("one primary, all others stream from it", try_healthy, seconds, 0.1)

    def render_config(self, node):
        retry = max(3, min(10, (self.ttl - self.loop_wait) // 2))
        return f"""scope: {self.scope}
name: {node.name}
restapi: {{listen: '{node.host}:{node.rest}', connect_address: '{node.host}:{node.rest}'}}
etcd3: {{hosts: [{', '.join(f"'{host}'" for host in self.etcd)}]}}
bootstrap:
  dcs:
    ttl: {self.ttl}
    loop_wait: {self.loop_wait}
    retry_timeout: {retry}
{self.settings}
    postgresql:
      use_pg_rewind: true
      parameters: {{max_connections: 120, shared_buffers: 16MB}}
  initdb: [encoding: UTF8, data-checksums]
  pg_hba:
    - local all all trust
    - host replication all 127.0.0.1/32 scram-sha-256
    - host all all 127.0.0.1/32 scram-sha-256
postgresql:
  listen: {node.host}:{node.pg}
  connect_address: {node.host}:{node.pg}
  data_dir: {node.data}
  bin_dir: {pg_bin()}
  pgpass: {node.folder}/pgpass
  parameters: {{unix_socket_directories: {node.folder}}}
  authentication:
    superuser: {{username: postgres, password: {PASSWORD}}}
    replication: {{username: replicator, password: {PASSWORD}}}
    rewind: {{username: rewinder, password: {PASSWORD}}}
"""


# --- faults that both suffer in the same way ----------------------------------------------------------------------------

def kill_server_complete(side, node):
    """The server dies when its standbys have all that it has: the workload's processes end first, and what they have
    written has the time to arrive. "killed" is the moment of the first SIGKILL, "struck" that after the last."""
    postmaster = node.postmaster()
    writers = node.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'baton-load' AND pid <> pg_backend_pid()")
    send_signal(postmaster, signal.SIGSTOP)  # it lets nobody in, and does not react to what follows
    pids = [postmaster] + children_of(postmaster)
    fault = side.fault(node)
    for pid in writers.split():
        send_signal(int(pid), signal.SIGTERM)
    while any(is_alive(int(pid)) for pid in writers.split()):
        time.sleep(0.0005)
    time.sleep(0.005)
    fault["killed"] = now() - fault["at"]
    for pid in pids:
        send_signal(pid, signal.SIGKILL)
    fault["struck"] = now() - fault["at"]
    return fault
