"""An external store: three etcd members as plain processes of the unprivileged user."""

import base64
import json
import os
import shutil
import signal
import ssl
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
        self.start_all()

    def start_all(self):
        for at in range(3):
            self.start(at)
        wait_until("etcd answers", self.is_healthy, 20, 0.2)

    def wipe(self):
        """A store that starts empty where this one was."""
        self.stop()
        for at in range(3):
            shutil.rmtree(os.path.join(self.folder, f"etcd{at}"))
        self.start_all()

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


class SecureEtcd(Etcd):
    """The same with TLS, client certificates, and a user who may use nothing but one prefix; tokens live for two seconds.

    The certificates have no CN: etcd's gateway refuses those that have one together with users.
    """

    USER, PASSWORD, PREFIX = "baton", "store-password", "/service/"

    def __init__(self, folder):
        self.certificates = os.path.join(folder, "tls")
        self.make_certificates()
        super().__init__(folder)
        self.enable_users()

    def file(self, name):
        return os.path.join(self.certificates, name)

    def make_certificates(self):
        os.mkdir(self.certificates, mode=0o755)
        key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        # Newer versions of Python want to be told who signed, and that this one may.
        script = (f"openssl req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"
                  " -addext keyUsage=critical,keyCertSign\n"
                  "for n in server client; do\n"
                  f" openssl req {key} -keyout $n.key -out $n.csr -subj /O=$n\n"
                  " printf 'subjectAltName=IP:127.0.0.1\\nauthorityKeyIdentifier=keyid\\n' >ext\n"
                  " openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $n.pem -days 2 -extfile ext\n"
                  "done\nchmod 0644 *.key *.pem\n")
        subprocess.run(["sh", "-ec", script], cwd=self.certificates, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def start(self, at):
        url = "https://" + self.clients[at]
        log = open(os.path.join(self.folder, f"etcd{at}.log"), "ab")
        self.processes[at] = subprocess.Popen(
            as_user() + ["etcd", "--name", f"e{at}", "--data-dir", os.path.join(self.folder, f"etcd{at}"),
                         "--listen-client-urls", url, "--advertise-client-urls", url,
                         "--listen-peer-urls", self.peers[at], "--initial-advertise-peer-urls", self.peers[at],
                         "--initial-cluster", self.members, "--heartbeat-interval", "50", "--election-timeout", "500",
                         "--trusted-ca-file", self.file("ca.pem"), "--cert-file", self.file("server.pem"),
                         "--key-file", self.file("server.key"), "--client-cert-auth", "--auth-token-ttl", "2",
                         "--bcrypt-cost", "4"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(self, at, path, body, token=None):
        """The JSON answer to a request at a member; OSError when there is none."""
        context = ssl.create_default_context(cafile=self.file("ca.pem"))
        context.load_cert_chain(self.file("client.pem"), self.file("client.key"))
        headers = {"Authorization": token} if token else {}
        request = urllib.request.Request(f"https://{self.clients[at]}{path}", headers=headers,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=3, context=context) as answer:
            return json.loads(answer.read())

    def is_healthy(self):
        try:
            return all(str(self.ask(at, "/health", None)["health"]) == "true" for at in range(3))
        except OSError:
            return False

    def enable_users(self):
        begin, end = (base64.b64encode(text.encode()).decode() for text in (self.PREFIX, self.PREFIX[:-1] + "0"))
        for path, body in (
                ("user/add", {"name": "root", "password": "root-password"}), ("role/add", {"name": "root"}),
                ("user/grant", {"user": "root", "role": "root"}),
                ("user/add", {"name": self.USER, "password": self.PASSWORD}), ("role/add", {"name": "baton"}),
                ("role/grant", {"name": "baton", "perm": {"permType": "READWRITE", "key": begin, "range_end": end}}),
                ("user/grant", {"user": self.USER, "role": "baton"}), ("enable", {})):
            self.ask(0, "/v3/auth/" + path, body)

    def as_root(self, at, path, body):
        token = self.ask(at, "/v3/auth/authenticate", {"name": "root", "password": "root-password"})["token"]
        return self.ask(at, path, body, token)

    def leader(self):
        """The number of the member that leads."""
        status = self.as_root(0, "/v3/maintenance/status", {})
        members = self.as_root(0, "/v3/cluster/member/list", {})["members"]
        return next(int(one["name"][1:]) for one in members if one["ID"] == status["leader"])

    def compact(self, at):
        """Forget all but the newest values."""
        revision = self.as_root(at, "/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        self.as_root(at, "/v3/kv/compaction", {"revision": revision, "physical": True})
