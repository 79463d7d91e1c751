"""Hosts on one machine: network namespaces with veth pairs on a bridge in a namespace of its own, and cuts by nftables.

Names carry this process' pid, so runs do not meet, and everything is removed again. No packet leaves the namespaces.
"""

import os
import shutil
import subprocess
import sys
import time

from cluster import LOAD, as_user

NETWORK = "10.213.77"


def command(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def cannot():
    """Why namespaces cannot be used here, or ""."""
    if os.getuid() != 0:
        return "needs root"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"needs {program}"
    name = f"baton{os.getpid()}try"
    try:
        command("ip", "netns", "add", name)
        command("ip", "netns", "exec", name, "nft", "add", "table", "inet", "baton")
    except subprocess.CalledProcessError as error:
        return "network namespaces do not work here: " + error.stderr.decode().strip().replace("\n", " ")
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
    return ""


class Host:
    def __init__(self, name, host):
        self.name = name
        self.host = host


class Network:
    """`hosts[k].name` is a namespace with the address `hosts[k].host`; all reach each other."""

    def __init__(self, count):
        base = f"baton{os.getpid()}"
        self.switch = base + "sw"
        self.hosts = []
        command("ip", "netns", "add", self.switch)
        command("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        command("ip", "-n", self.switch, "link", "set", "br0", "up")
        for at in range(count):
            name = f"{base}h{at}"
            host = f"{NETWORK}.{at + 1}"
            command("ip", "netns", "add", name)
            command("ip", "-n", name, "link", "set", "lo", "up")
            command("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"p{at}",
                    "netns", self.switch)
            command("ip", "-n", name, "addr", "add", host + "/24", "dev", "eth0")
            command("ip", "-n", name, "link", "set", "eth0", "up")
            command("ip", "-n", self.switch, "link", "set", f"p{at}", "master", "br0")
            command("ip", "-n", self.switch, "link", "set", f"p{at}", "up")
            self.hosts.append(Host(name, host))

    def isolate(self, name):
        """Drop everything that enters or leaves the namespace over its wire; established connections included."""
        rules = ("table inet baton {\n chain in { type filter hook input priority 0; iifname eth0 drop; }\n"
                 " chain out { type filter hook output priority 0; oifname eth0 drop; }\n}\n")
        subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules.encode(), check=True)

    def cut(self, name, *hosts):
        """Drop everything between the namespace and the addresses; what was cut there before is healed."""
        addresses = "{ " + ", ".join(hosts) + " }"
        rules = ("table inet baton {\n}\ndelete table inet baton\ntable inet baton {\n"
                 f" chain in {{ type filter hook input priority 0; ip saddr {addresses} drop; }}\n"
                 f" chain out {{ type filter hook output priority 0; ip daddr {addresses} drop; }}\n}}\n")
        subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules.encode(), check=True)

    def heal(self):
        for host in self.hosts:
            subprocess.run(["ip", "netns", "exec", host.name, "nft", "delete", "table", "inet", "baton"],
                           check=False, stderr=subprocess.DEVNULL)

    def stop(self):
        for name in [host.name for host in self.hosts] + [self.switch]:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


class LocalWriter:
    """The workload, inside one node's namespace: a client that shares the fate of its primary's network."""

    def __init__(self, cluster, node):
        self.log = os.path.join(cluster.folder, f"local-{node.name}.log")
        self.process = subprocess.Popen(
            node.inside() + [LOAD, self.log, node.conninfo()], stdin=subprocess.DEVNULL)

    def acks(self):
        """Moments (seconds, CLOCK_MONOTONIC) of acknowledgements."""
        try:
            with open(self.log, encoding="ascii") as file:
                return [int(line.split()[0]) / 1e9 for line in file if " ok " in line]
        except FileNotFoundError:
            return []

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=15)


class LocalEtcd:
    """A store of one member in one namespace, on etcd's own ports."""

    def __init__(self, host, folder):
        url, peer = f"http://{host.host}:2379", f"http://{host.host}:2380"
        with open(os.path.join(folder, "etcd.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", host.name] + as_user() +
                ["etcd", "--name", "e", "--data-dir", os.path.join(folder, "etcd"), "--listen-client-urls", url,
                 "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", f"e={peer}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self):
        self.process.kill()
        self.process.wait()


def first_write(node, since, seconds=20.0):
    """The moment when the new primary can first have acknowledged a write: asked before it is tried."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.monotonic()
        try:
            node.sql("CREATE TABLE IF NOT EXISTS taken (a int); INSERT INTO taken VALUES (1)")
            assert before > since
            return before
        except Exception as error:
            print(f"# {error}", file=sys.stderr)
            time.sleep(0.05)
    raise AssertionError("the new primary takes no writes")
