"""An external store: three etcd members as plain processes of the unprivileged user."""

import os
import signal
import subprocess
import urllib.request

from cluster import as_user, free_ports, send_signal, wait_until


class Etcd:
    """Three etcd members as plain processes."""

    def __init__(self, folder):
        ports = free_ports(6)
        self.folder = folder
        self.clients = [f"127.0.0.1:{port}" for port in ports[:3]]
        self.members = ",".join(f"e{at}=http://127.0.0.1:{ports[3 + at]}" for at in range(3))
        self.peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        self.processes = [None] * 3
        for at in range(3):
            self.start(at)
        wait_until("etcd answers", self.is_healthy, 20, 0.2)

    def start(self, at):
        url = "http://" + self.clients[at]
        log = open(os.path.join(self.folder, f"etcd{at}.log"), "ab")
        self.processes[at] = subprocess.Popen(
            as_user() + ["etcd", "--name", f"e{at}", "--data-dir", os.path.join(self.folder, f"etcd{at}"),
                         "--listen-client-urls", url, "--advertise-client-urls", url,
                         "--listen-peer-urls", self.peers[at], "--initial-advertise-peer-urls", self.peers[at],
                         "--initial-cluster", self.members, "--heartbeat-interval", "50", "--election-timeout", "500"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_healthy(self):
        try:
            for client in self.clients:
                with urllib.request.urlopen(f"http://{client}/health", timeout=1) as answer:
                    if b'"true"' not in answer.read():
                        return False
            return True
        except OSError:
            return False

    def kill(self, at):
        send_signal(self.processes[at].pid, signal.SIGKILL)
        self.processes[at].wait()

    def stop(self):
        for at in range(3):
            if self.processes[at].poll() is None:
                self.kill(at)
