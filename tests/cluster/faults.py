"""Bad input and faults: each gives one clear message, an exit code or a visible state, and harms no data.

The lines of these tests begin with "cluster/faults/"; tests that take
longer than some seconds have names that begin with slow_ and are left out by `run faults -slow_`.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time

from cluster import Cluster, Failure, Skip, as_user, children_of, free_ports, is_alive, now, send_signal, wait_until
from etcd import Etcd
import groups
from groups import check, check_no_loss, new_folder, note
import netns

GROUPS = []
TTL = 5
BIN = "/usr/lib/postgresql"

group = groups.into(GROUPS, "faults")


def is_root():
    return os.getuid() == 0


def need_root():
    if not is_root():
        raise Skip("needs root")


# --- tools -------------------------------------------------------------------------------------------------------------

def tree_hash(folder):
    """Names, kinds, modes, owners and contents of everything below a folder, as one number."""
    total = hashlib.sha256()
    for path, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files) + sorted(folders):
            full = os.path.join(path, name)
            facts = os.lstat(full)
            total.update(f"{os.path.relpath(full, folder)} {facts.st_mode} {facts.st_uid} {facts.st_size}\n".encode())
            if name in files and not os.path.islink(full):
                try:
                    with open(full, "rb") as file:
                        total.update(hashlib.sha256(file.read()).digest())
                except OSError:
                    pass  # a socket
    return total.hexdigest()


def baton(cluster, *words, user=True, env=None, seconds=20.0):
    """(exit code, everything it said) of a command that has to end by itself."""
    try:
        done = subprocess.run(
            (as_user() if user else []) + [cluster.baton, *words], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, cwd=cluster.folder, timeout=seconds,
            env=env or {"PATH": os.environ["PATH"], "LANG": "C"})
    except subprocess.TimeoutExpired as late:
        raise Failure(f"'baton {' '.join(words)}' does not end: {(late.stdout or b'').decode()[-300:]}") from late
    return done.returncode, done.stdout + done.stderr


def listing(node):
    return baton(node.cluster, "list", "-c", node.config)[1]


def wait_listed(node, *words, seconds=12.0):
    """`baton list` says one of the words about it."""
    last = [""]
    def is_said():
        last[0] = listing(node)
        return any(word in last[0] for word in words)
    try:
        wait_until(f"`baton list` says {' or '.join(words)}", is_said, seconds, 0.2)
    except Failure as failure:
        raise Failure(f"{failure}; it says: {last[0]}") from failure
    return last[0]


def wait_problem(node, seconds=12.0):
    """`baton list` says what is the matter with it: in its own words, not that others do not hear of it yet."""
    said = [""]
    def is_said():
        said[0] = listing(node)
        return f" {node.name}: " in said[0] and f" {node.name}: unknown" not in said[0]
    try:
        wait_until(f"`baton list` says what is the matter with {node.name}", is_said, seconds, 0.2)
    except Failure as failure:
        raise Failure(f"{failure}; it says: {said[0]}") from failure
    return said[0]


def log_since(node, position=0):
    with open(node.log, "rb") as file:
        file.seek(position)
        return file.read().decode("utf-8", "replace")


def log_end(node):
    try:
        return os.path.getsize(node.log)
    except FileNotFoundError:
        return 0


def refused(cluster, code, text, *words, code_wanted=1):
    check(code == code_wanted, f"exit code {code}, not {code_wanted}: {text}")
    for word in words:
        check(word in text, f"'{word}' is not in what it says: {text}")


def write_file(cluster, name, text, mode=0o600):
    path = os.path.join(cluster.folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    cluster.own(path)
    return path


def read_config(node):
    with open(node.config, encoding="utf-8") as file:
        return file.read()


def change_config(node, old, new):
    """Replace a part of a node's configuration; what it was."""
    before = read_config(node)
    check(old in before, f"the configuration has no '{old}'")
    rewrite_config(node, before.replace(old, new))
    return before


def rewrite_config(node, text):
    with open(node.config, "w", encoding="utf-8") as file:
        file.write(text)


def newest_bin_dir():
    return max((os.path.join(BIN, one, "bin") for one in os.listdir(BIN)), key=lambda one: int(one.split("/")[-2]))


def writer_at(cluster, node):
    """A writer of its own at one server. Its ids begin with the second in which it starts: no two in the same one."""
    time.sleep(1.1)
    writer = netns.LocalWriter(cluster, node)
    time.sleep(1.1)
    return writer


def resume_load(cluster):
    cluster.start_load()
    cluster.wait_acks()


def runtime(node):
    return node.data + ".baton"


@contextlib.contextmanager
def bystander(cluster, longest=2.0):
    """The primary is left alone and the cluster's writes go on while one member has its trouble."""
    begin, primary = now(), cluster.wait_primary()
    pid = primary.postmaster()
    yield primary
    cluster.wait_acks()
    check(primary.postmaster() == pid and primary.is_primary(), "the primary was not left alone")
    gap = cluster.longest_gap(begin)
    check(gap < longest, f"writes paused for {gap:.2f} s")
    check_no_loss(cluster)


def kill_and_bury(node):
    """Until nothing of its server is left in /proc, not even a zombie, which would look like a living server."""
    pid = node.postmaster()
    node.kill_node()
    wait_until("the dead server is collected", lambda: pid is None or not os.path.exists(f"/proc/{pid}"), 10)


@contextlib.contextmanager
def trouble(cluster):
    """A standby that is stopped, and a list of functions that undo what is done to it: run whatever happens."""
    undo = []
    with bystander(cluster):
        node = cluster.standbys()[0]
        kill_and_bury(node)
        try:
            yield node, undo
        finally:
            kill_and_bury(node)
            for function in reversed(undo):
                function()
            node.start()
            cluster.wait_healthy(60)


def stay_as_it_is(node, before):
    """For some turns of the agent the data directory stays, byte by byte."""
    time.sleep(1)
    check(tree_hash(node.data) == before, "the data was touched")


# --- configurations and starts that must be refused ----------------------------------------------------------------------

class Lone(Cluster):
    """Two nodes that are never started together: nothing becomes healthy here, and need not."""

    def wait_healthy(self, seconds=60.0):
        for node in self.nodes:
            node.kill_node()


GOOD = """scope: demo
name: n1
restapi: {{listen: 127.0.0.1:{rest}}}
peers: [127.0.0.1:{rest}]
postgresql:
  data_dir: {data}
"""


def config_good(cluster):
    path = write_file(cluster, "good.yml", GOOD.format(rest=cluster.nodes[0].rest, data=cluster.folder + "/never"))
    code, said = baton(cluster, "agent", "--check", path)
    refused(cluster, code, said, code_wanted=0)


def config_wrong(cluster):
    """Both commands name file, line and what to write; nothing is made on disk."""
    node = cluster.nodes[0]
    data = os.path.join(cluster.folder, "never")
    good = GOOD.format(rest=node.rest, data=data)
    rows = [
        ("syntax", good + "tags: [a\n", ":8", "error"),
        ("tab", good + "tags:\n\tnofailover: true\n", ":8", "error"),
        ("unknown", good + "  lisen: 127.0.0.1:1\n", ":7", "postgresql.lisen: unknown key, did you mean listen"),
        ("top", good.replace("peers", "peeers"), ":4", "did you mean peers"),
        ("type", good + "bootstrap:\n  dcs:\n    ttl: ten\n", ":9", "'ten'"),
        ("folder", good + "  pgpass: {a: b}\n", ":7", "postgresql.pgpass"),
        ("twice", good + "name: n2\n", ":7", "name"),
        ("missing", good.replace("  data_dir", "  #data_dir"), "", "data_dir"),
        ("port", good.replace(f":{node.rest}}}", ":99999}"), ":3", "99999"),
        ("empty", "", "", "error"),
    ]
    for name, text, line, word in rows:
        path = write_file(cluster, f"wrong-{name}.yml", text)
        for words in (("agent", "--check", path), ("agent", path)):
            code, said = baton(cluster, *words)
            refused(cluster, code, said, f"wrong-{name}.yml{line}", word)
    check(not os.path.exists(data) and not os.path.exists(data + ".baton"), "something was made on disk")


def config_times_impossible(cluster):
    """ttl below loop_wait + 2 * retry_timeout: said with the line, and made possible (as Patroni does), not refused."""
    text = GOOD.format(rest=cluster.nodes[0].rest, data=os.path.join(cluster.folder, "never"))
    path = write_file(cluster, "times.yml", text + "bootstrap:\n  dcs:\n    ttl: 5\n    loop_wait: 10\n")
    code, said = baton(cluster, "agent", "--check", path)
    refused(cluster, code, said, "times.yml:9: warning: bootstrap.dcs.ttl", "loop_wait", code_wanted=0)


def config_not_readable(cluster):
    text = GOOD.format(rest=cluster.nodes[0].rest, data=os.path.join(cluster.folder, "never"))
    secret = write_file(cluster, "secret.yml", text, 0)
    folder = os.path.join(cluster.folder, "folder.yml")
    os.mkdir(folder)
    cases = [(folder, "is not a regular file"), (os.path.join(cluster.folder, "nothing.yml"), "No such file")]
    if is_root():
        os.chown(secret, 0, 0)
        cases.append((secret, "Permission denied"))
    for path, word in cases:
        for words in (("agent", "--check", path), ("agent", path), ("list", "-c", path)):
            code, said = baton(cluster, *words)
            check(code in (1, 2), f"exit code {code}: {said}")
            check(word in said and path in said, f"{words}: it says: {said}")


def root_refused(cluster):
    need_root()
    node = cluster.nodes[0]
    code, said = baton(cluster, "agent", node.config, user=False)
    refused(cluster, code, said, "must not run as root", "hint")
    check(not os.path.exists(runtime(node)), "it left a folder of root's")


def guard_missing(cluster):
    folder = os.path.join(cluster.folder, "half")
    os.mkdir(folder)
    shutil.copy(cluster.baton, folder)
    done = subprocess.run(
        as_user() + [os.path.join(folder, "baton"), "agent", cluster.nodes[0].config], capture_output=True, text=True,
        check=False, timeout=20)
    refused(cluster, done.returncode, done.stdout + done.stderr, "baton-guard is missing", "hint")


def rest_port_in_use(cluster):
    node = cluster.nodes[0]
    with socket.create_server((node.host, node.rest)):
        code, said = baton(cluster, "agent", node.config)
    refused(cluster, code, said, str(node.rest), "another program", "hint")


def second_agent_refused(cluster):
    """On the same data directory: with the same configuration, and with another name, port and runtime folder."""
    node = cluster.nodes[0]
    node.start()
    wait_until("the agent answers", lambda: node.get("/liveness")[0] != 0, 15)
    code, said = baton(cluster, "agent", node.config)
    refused(cluster, code, said, "holds the lock", node.data)
    port = free_ports(1)[0]
    text = read_config(node).replace("name: n1", "name: n9").replace(f":{node.rest}", f":{port}") \
        .replace(f"  data_dir: {node.data}\n", f"  data_dir: {node.data}\n  runtime_dir: {cluster.folder}/other\n")
    path = write_file(cluster, "other.yml", text)
    try:
        code, said = baton(cluster, "agent", path, seconds=4)
    finally:
        node.kill_node()
    refused(cluster, code, said, "holds the lock")


def runtime_folder_not_usable(cluster):
    """Not ours, or a file in its place: refused, with its path, and not blamed on another agent."""
    node = cluster.nodes[1]
    folder = runtime(node)
    for kind in ("file", "other") if is_root() else ("file",):
        if kind == "file":
            open(folder, "w", encoding="ascii").close()
        else:
            os.mkdir(folder, 0o700)
        code, said = baton(cluster, "agent", node.config, seconds=5)
        os.remove(folder) if kind == "file" else shutil.rmtree(folder)
        refused(cluster, code, said, folder)
        check("holds the lock" not in said, f"it blames another agent: {said}")


def etcd_program_missing(cluster):
    """The agent goes on and says what to install; /usr/bin/etcd is hidden in a mount namespace of its own."""
    need_root()
    node = cluster.nodes[0]
    bare = write_file(cluster, "hide", "")
    os.chmod(bare, 0o600)
    script = f"mount --bind {bare} /usr/bin/etcd && exec \"$@\""
    before = read_config(node)
    rewrite_config(node, before.replace(f"  - {cluster.nodes[1].host}:{cluster.nodes[1].rest}\n", ""))
    with open(node.log, "ab") as log:
        node.agent = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh"] + as_user() + [cluster.baton, "agent", node.config],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"})
    try:
        said = wait_listed(node, "etcd was not found", seconds=15)
        check("etcd-server" in said, f"it does not say what to install: {said}")
    finally:
        node.kill_node()
        rewrite_config(node, before)


@group(config_good, config_wrong, config_times_impossible, config_not_readable, root_refused, guard_missing, rest_port_in_use,
       second_agent_refused, runtime_folder_not_usable, etcd_program_missing, seconds=2)
def refusals():
    return Lone(new_folder(), count=2, ttl=TTL, loop_wait=1)


# --- a member in trouble, in a cluster that works -----------------------------------------------------------------------

def member_cluster_up(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    resume_load(cluster)


def data_mode_wrong(cluster):
    with trouble(cluster) as (node, undo):
        os.chmod(node.data, 0o755)
        undo.append(lambda: os.chmod(node.data, 0o700))
        before = tree_hash(node.data)
        node.start()
        wait_listed(node, "0755")
        stay_as_it_is(node, before)
        check(os.stat(node.data).st_mode & 0o777 == 0o755, "the mode was changed")


def data_owner_wrong(cluster):
    need_root()
    with trouble(cluster) as (node, undo):
        before = tree_hash(node.data)
        os.chown(node.data, 0, 0)
        undo.append(lambda: cluster.own(node.data))
        node.start()
        try:
            wait_listed(node, "belongs to user 0")
        finally:
            stay_as_it_is(node, before)
        check(os.stat(node.data).st_uid == 0, "the owner was changed")


def data_not_readable(cluster):
    with trouble(cluster) as (node, undo):
        before = tree_hash(node.data)
        os.chmod(node.data, 0)
        undo.append(lambda: os.chmod(node.data, 0o700))
        node.start()
        wait_listed(node, "ermission denied", "mode 0000")
        stay_as_it_is(node, before)


def programs_missing(cluster):
    """postgresql.bin_dir names an empty folder: what to do is said where people look for it."""
    with trouble(cluster) as (node, undo):
        before = tree_hash(node.data)
        empty = os.path.join(node.folder, "empty")
        os.mkdir(empty, 0o755)
        config = change_config(node, "postgresql:\n  listen", f"postgresql:\n  bin_dir: {empty}\n  listen")
        undo.append(lambda: rewrite_config(node, config))
        node.start()
        said = wait_listed(node, empty)
        stay_as_it_is(node, before)
        check("to do:" in said and "bin_dir" in said.split("to do:")[1], f"it does not say what to do: {said}")


def postgres_port_in_use(cluster):
    with trouble(cluster) as (node, undo):
        other = socket.create_server((node.host, node.pg))
        undo.append(other.close)
        node.start()
        said = wait_problem(node)
        check("in use" in said or "port" in said or "TCP/IP" in said, f"the reason is not said: {said}")


def foreign_data(cluster):
    """The data of another cluster under a member's name: not started, not touched, and said."""
    with trouble(cluster) as (node, undo):
        aside = node.data + ".kept"
        os.rename(node.data, aside)
        undo.append(lambda: os.rename(aside, node.data))
        undo.append(lambda: shutil.rmtree(node.data))
        subprocess.run(
            as_user() + [os.path.join(newest_bin_dir(), "initdb"), "-D", node.data, "-U", "postgres", "-N",
                         "--auth=trust"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        before = tree_hash(node.data)
        node.start()
        try:
            said = wait_listed(node, "system identifier", "another cluster")
        finally:
            stay_as_it_is(node, before)
            check(node.postmaster() is None, "a server runs on it")
        check("to do:" in said, f"it does not say what to do: {said}")


def data_emptied(cluster):
    """One member whose folder is empty: cloned, and no new cluster."""
    with trouble(cluster) as (node, _):
        shutil.rmtree(node.data)
        os.mkdir(node.data, 0o700)
        cluster.own(node.data)


def wal_truncated(cluster):
    """The last segment of a standby is cut: it streams the rest again, or the reason is said."""
    with trouble(cluster) as (node, undo):
        folder = os.path.join(node.data, "pg_wal")
        names = [os.path.join(folder, one) for one in os.listdir(folder) if len(one) == 24]
        last = max(names, key=os.path.getmtime)
        os.truncate(last, 1 << 20)
        undo.append(lambda: shutil.rmtree(node.data))
        node.start()
        end = now() + 15
        while now() < end and node.status().get("replication_state") != "streaming":
            time.sleep(0.2)
        if node.status().get("replication_state") == "streaming":
            note("a standby with a cut segment streams again")
            return
        said = listing(node)
        check(f" {node.name}: " in said and "to do:" in said, f"nothing is said: {said}")
        note("a standby with a cut segment: " + said.split(f" {node.name}: ")[1].replace("\n", " "))


def base_folder_missing(cluster):
    """Said, and neither cloned over nor counted as a good standby."""
    with trouble(cluster) as (node, undo):
        aside = os.path.join(node.folder, "base.kept")
        os.rename(os.path.join(node.data, "base"), aside)
        # Replay makes a new one, which is no longer the data: it is copied anew.
        undo.append(lambda: shutil.rmtree(node.data))
        undo.append(lambda: shutil.rmtree(aside))
        node.start()
        try:
            said = wait_problem(node)
        except Failure as failure:
            raise Failure(f"{failure}; GET /replica gives {node.get('/replica')[0]}") from failure
        check("to do:" in said, f"it does not say what to do: {said}")
        check(node.get("/replica")[0] != 200, "it answers as a replica")


def remove_wal(primary, node):
    """Until the primary has nothing left of what it wrote before this."""
    needed = primary.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    oldest = "SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
    def is_gone():
        # The slot is made again when the member is listed, and keeps what the last checkpoint kept.
        with contextlib.suppress(Failure):
            primary.sql(f"SELECT pg_drop_replication_slot('{node.name}')")
        primary.sql("SELECT pg_switch_wal()")
        primary.sql("CHECKPOINT", 30)
        return primary.sql(oldest) > needed
    wait_until("the primary has removed old segments", is_gone, 60, 0.3)


def slow_standby_starved(cluster):
    """The primary no longer has the log that a standby needs: it is said, and the data is copied anew by itself."""
    with bystander(cluster, 4.0) as primary:
        node = cluster.standbys()[0]
        kill_and_bury(node)
        position = log_end(node)
        kept = set(os.listdir(node.folder))
        primary.sql("ALTER SYSTEM SET wal_keep_size = 0")
        primary.sql("SELECT pg_reload_conf()")
        try:
            remove_wal(primary, node)
            node.start()
            # Not in `baton list`: it may be mended sooner than somebody can look.
            wait_until("it is said", lambda: "has already been removed" in log_since(node, position), 30)
            wait_until("the data is copied anew", lambda: "rule=clone.starved" in log_since(node, position), 60)
            cluster.wait_healthy(90)
        finally:
            primary.sql("ALTER SYSTEM RESET wal_keep_size")
            primary.sql("SELECT pg_reload_conf()")
        aside = [one for one in os.listdir(node.folder) if one.startswith("data.baton-") and one not in kept]
        check(aside, "the old data was not kept aside")


def name_in_use(cluster):
    """A host with data of this cluster is started under the primary's name, while the third one is down.

    Patroni does not start when a member of its name answers at another address. Here one of the two has to refuse; above
    all they must not write both."""
    node, third = cluster.standbys()
    primary = cluster.primary()
    node.kill_node()
    config = change_config(node, f"name: {node.name}\n", f"name: {primary.name}\n")
    position = log_end(node)
    writers = [writer_at(cluster, one) for one in (primary, node)]
    begin = now()
    try:
        node.start()
        wait_until("the namesake's agent answers or ends", lambda: node.get("/liveness")[0] or node.agent.poll() is not None, 10)
        time.sleep(1)
        third.kill_node()
        while now() < begin + 3 * TTL and node.agent.poll() is None:
            time.sleep(0.1)
        time.sleep(1)
        acks = [[at for at in one.acks() if at > begin] for one in writers]
        is_refused = node.agent.poll() == 1
    finally:
        for one in writers:
            one.stop()
        node.kill_node()
        rewrite_config(node, config)
        third.start()
    note(f"rows acknowledged under one name: {len(acks[0])} by the primary, {len(acks[1])} by its namesake")
    rules = [line.split("rule=")[1].split()[0] for line in log_since(node, position).splitlines() if "rule=" in line]
    node.start()
    cluster.wait_healthy(90)
    if acks[0] and acks[1]:
        both = min(acks[0][-1], acks[1][-1]) - max(acks[0][0], acks[1][0])
        raise Failure(f"two nodes of one name were writable at once for {both:.1f} s; the namesake's rules: {rules}")
    check(acks[0] and not acks[1], f"the wrong one was writable: {rules}")
    check(is_refused and "agent.namesake" in rules, f"the second node of that name was not refused: {rules}")


@group(member_cluster_up, data_mode_wrong, data_owner_wrong, data_not_readable, programs_missing, postgres_port_in_use,
       foreign_data, data_emptied, wal_truncated, base_folder_missing, slow_standby_starved,
       name_in_use, seconds=70)
def members():
    return Cluster(new_folder(), ttl=TTL, loop_wait=1, settings="    maximum_lag_on_failover: 1GB")


# --- killed at the worst moments, frozen, stopped ------------------------------------------------------------------------

def kill_when(cluster, nodes, what, condition, seconds=30.0):
    """Kill the agent of the first node for which the condition holds; the node, after its restart."""
    def find():
        return next((one for one in nodes if condition(one)), None)
    node = wait_until(what, find, seconds, 0.001)
    node.kill_agent()
    time.sleep(0.3)
    node.start()
    return node


def is_copying(node, program):
    if node.agent is None or not os.path.exists(node.data + ".baton-new"):
        return False
    for pid in children_of(node.agent.pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().strip() == program:
                    return True
        except OSError:
            pass
    return False


def slow_agent_killed_in_bootstrap_and_clone(cluster):
    """Killed while initdb runs and while pg_basebackup runs: everything begins anew by itself."""
    cluster.start()
    first = kill_when(cluster, cluster.nodes, "initdb runs", lambda one: is_copying(one, "initdb"))
    note(f"killed {first.name} in initdb")
    second = kill_when(cluster, cluster.nodes, "pg_basebackup runs", lambda one: is_copying(one, "pg_basebackup"), 60)
    note(f"killed {second.name} in pg_basebackup")
    cluster.wait_healthy(90)
    ids = {one.status()["database_system_identifier"] for one in cluster.nodes}
    check(len(ids) == 1, f"several system identifiers: {ids}")
    for node in cluster.nodes:
        check(not os.path.exists(node.data + ".baton-new"), f"{node.name} has a half-made copy left")
    resume_load(cluster)


def agent_killed_in_rewind(cluster):
    primary = cluster.primary()
    standbys = [one for one in cluster.nodes if one is not primary]
    cluster.stop_load()
    time.sleep(1)  # what was acknowledged has reached them
    for node in standbys:
        node.signal_walreceiver(signal.SIGSTOP)
    primary.sql("CREATE TABLE only_here AS SELECT generate_series(1, 300000) AS a", 60)
    primary.kill_node()
    # Ended before they go on: the sockets may hold all of it (tcp_rmem).
    for number in (signal.SIGTERM, signal.SIGCONT):
        for node in standbys:
            node.signal_walreceiver(number)
    new = cluster.wait_primary(cluster.ttl + 20, but=primary)
    new.sql("CREATE TABLE only_there AS SELECT generate_series(1, 1000) AS a")
    primary.start()
    kill_when(cluster, [primary], "the rewind runs",
              lambda one: os.path.exists(one.data + ".rewinding"), 60)
    try:
        cluster.wait_healthy(45)
    except Failure as failure:
        said = listing(primary)
        primary.kill_node()  # leave a cluster for the tests after this one
        shutil.rmtree(primary.data)
        if os.path.exists(primary.data + ".rewinding"):
            os.remove(primary.data + ".rewinding")
        primary.start()
        cluster.wait_healthy(60)
        resume_load(cluster)
        raise Failure(f"{failure}; it says: {said}") from failure
    check(primary.sql("SELECT count(*) FROM only_there") == "1000", "the new history is not there")
    resume_load(cluster)


def agent_terminated(cluster):
    """A planned end: clean stop, quick take-over, nothing lost, no rewind afterwards."""
    begin, primary = now(), cluster.primary()
    position = log_end(primary)
    try:
        end_agent(cluster, primary, begin)
    finally:
        primary.start()
    cluster.wait_healthy(60)
    check_no_loss(cluster)
    check("rule=rewind.run" not in log_since(primary, position), "the old primary had to be rewound")


def end_agent(cluster, primary, begin):
    positions = {node: log_end(node) for node in cluster.nodes}
    primary.stop()
    new = cluster.wait_primary(15, but=primary)
    cluster.wait_acks()
    wait_until("the agent ends", lambda: primary.agent.poll() is not None, 20)
    check(primary.agent.returncode == 0, f"exit code {primary.agent.returncode}")
    check(primary.postmaster() is None, "the server runs on")
    state = subprocess.run(
        [os.path.join(newest_bin_dir(), "pg_controldata"), primary.data], capture_output=True, text=True, check=True)
    check("shut down" in state.stdout, "the server was not stopped cleanly")
    gap = cluster.longest_gap(begin)
    note(f"SIGTERM of the primary's agent: writes paused for {gap * 1000:.0f} ms")
    check("rule=race.successor " in log_since(new, positions[new]), "the lease was not handed over")
    check(gap < 10, f"writes paused for {gap:.2f} s")


def agent_detached_and_reloaded(cluster):
    """SIGUSR2 leaves the server alone; SIGHUP says what a changed file changes, also when it is wrong."""
    begin, primary = now(), cluster.primary()
    pid, position = primary.postmaster(), log_end(primary)
    send_signal(primary.agent.pid, signal.SIGUSR2)
    wait_until("the agent ends", lambda: primary.agent.poll() is not None, 5)
    check(primary.agent.returncode == 0, f"exit code {primary.agent.returncode}")
    primary.start()
    wait_until("the agent holds the lease again", primary.is_primary, 10)
    check(primary.postmaster() == pid, "the server was restarted")
    before = read_config(primary)
    for text, word in ((before + "tags: {nofailover: true}\n", "tags.nofailover"), (before + "tags: [\n", "did not find")):
        rewrite_config(primary, text)
        position = log_end(primary)
        send_signal(primary.agent.pid, signal.SIGHUP)
        wait_until(f"the log says {word}", lambda: word in log_since(primary, position), 5)
    rewrite_config(primary, before)
    check(primary.postmaster() == pid and primary.is_primary(), "the server was touched")
    cluster.wait_acks()
    check(cluster.longest_gap(begin) < 1.0, f"writes paused for {cluster.longest_gap(begin):.2f} s")


def is_checkpointer(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"checkpointer" in file.read()
    except OSError:
        return False


def helper_left_behind(cluster):
    """A helper process stands still when guard and postmaster die: it holds the server's shared memory, and nobody is left to
    end it but the next agent."""
    node = cluster.standbys()[0]
    helper = next(pid for pid in children_of(node.postmaster()) if is_checkpointer(pid))
    send_signal(helper, signal.SIGSTOP)
    pids = [pid for pid in node.all_pids() if pid != helper]
    for pid in pids:
        send_signal(pid, signal.SIGKILL)
    wait_until("all others are gone", lambda: not any(is_alive(pid) for pid in pids), 10)
    check(is_alive(helper), "the helper is gone: nothing is proven")
    node.reap()
    node.start()
    cluster.wait_healthy(60)
    check(not is_alive(helper), "the helper is still there")


def promoted_by_hand(cluster):
    """pg_promote() on a standby: fenced, re-joined; the primary does not notice."""
    node = cluster.standbys()[0]
    with bystander(cluster):
        writer = writer_at(cluster, node)
        begin = now()
        try:
            with contextlib.suppress(Failure):  # the server may be killed before it has answered
                node.sql("SELECT pg_promote(false)")
            wait_until("the promoted server is killed or stopped", lambda: any("rule=" + rule in log_since(node) for rule in ("fence.lost", "standby.diverged")), 10)
            time.sleep(0.5)
        finally:
            writer.stop()
        acks = [at for at in writer.acks() if at > begin]
        note(f"pg_promote() by hand: {len(acks)} rows acknowledged by the wrong server"
             + (f", for {(acks[-1] - acks[0]) * 1000:.0f} ms" if acks else ""))
        cluster.wait_healthy(60)
    with open(writer.log, encoding="ascii") as file:
        rows = {int(line.split()[2]) for line in file if " ok " in line}
    check(len(rows) == len(acks), "rows from before")


def slow_primary_frozen(cluster):
    """The whole node stands still for longer than the lease and thaws: the old primary must not go on."""
    primary = cluster.primary()
    cluster.stop_load()
    writer = writer_at(cluster, primary)
    wait_until("the local writer writes", lambda: len(writer.acks()) > 10, 15)
    since = now()
    pids = primary.signal_node(signal.SIGSTOP)
    try:
        new = cluster.wait_primary(cluster.ttl + 20, but=primary)
        first = netns.first_write(new, since)
        time.sleep(2)
    finally:
        thaw = now()
        guards = set(primary.guards())
        for pid in sorted(pids, key=lambda one: one in guards):  # the guards last: the worst order
            send_signal(pid, signal.SIGCONT)
    time.sleep(2)
    writer.stop()
    late = [at for at in writer.acks() if at > first]
    note(f"thaw of a frozen primary: {len(late)} rows acknowledged by the old one after the new one"
         + (f", the last {(late[-1] - thaw) * 1000:.1f} ms after the thaw" if late else ""))
    cluster.wait_healthy(90)
    check(cluster.primary() is not primary, "the old primary leads again")
    resume_load(cluster)
    check(not late or late[-1] - thaw < 0.5, f"the old primary wrote for {late[-1] - thaw if late else 0:.2f} s after the thaw")
    check(len(late) <= 1, f"{len(late)} rows were acknowledged at the thaw")


def all_data_lost(cluster):
    """Every data directory is gone, the store is there: nobody makes a new, empty cluster, and it is said."""
    cluster.stop_load()
    for node in cluster.nodes:
        node.kill_node()
    kept = []
    for node in cluster.nodes:
        kept.append(node.data + ".kept")
        os.rename(node.data, kept[-1])
    for node in cluster.nodes:
        node.start()
    said = wait_listed(cluster.nodes[0], "no data here", seconds=30)
    time.sleep(TTL + 2)
    said = listing(cluster.nodes[0])
    check("There is no leader" in said or "uninitialized" in said, f"it says: {said}")
    for node in cluster.nodes:
        check(not os.path.exists(os.path.join(node.data, "PG_VERSION")), f"{node.name} has made a new cluster")
        check("rule=bootstrap.run" not in log_since(node).split("no data here")[-1], f"{node.name} ran initdb")
    # A restored member brings the cluster back, and the others copy it.
    best = max(range(3), key=lambda at: os.path.getmtime(os.path.join(kept[at], "global", "pg_control")))
    cluster.nodes[best].kill_node()
    shutil.rmtree(cluster.nodes[best].data, ignore_errors=True)
    os.rename(kept[best], cluster.nodes[best].data)
    cluster.nodes[best].start()
    cluster.wait_healthy(90)


@group(slow_agent_killed_in_bootstrap_and_clone, agent_killed_in_rewind, agent_terminated, agent_detached_and_reloaded,
       helper_left_behind, promoted_by_hand, slow_primary_frozen, all_data_lost, seconds=77)
def moments():
    return Cluster(new_folder(), ttl=TTL, loop_wait=1, settings="    maximum_lag_on_failover: 1GB")


# --- who may take over -------------------------------------------------------------------------------------------------

class Tagged(Cluster):
    """Tags and other lines of one node's own, in `extra` by its name."""

    def __init__(self, *args, extra=None, **more):
        self.extra = extra or {}
        super().__init__(*args, **more)

    def render_config(self, node):
        return super().render_config(node) + self.extra.get(node.name, "")


def restart_with(cluster, node, extra):
    cluster.extra[node.name] = extra
    node.write_config()
    node.kill_agent()
    node.start()


def priority_decides(cluster):
    """Of two that have all, the one with the higher failover_priority takes over."""
    cluster.start()
    cluster.wait_healthy(90)
    primary = cluster.primary()
    low, high = cluster.standbys()
    # The name would decide otherwise: the smaller one wins.
    restart_with(cluster, low, "tags: {failover_priority: 1}\n")
    restart_with(cluster, high, "tags: {failover_priority: 5}\n")
    cluster.wait_healthy(30)
    time.sleep(2)
    primary.kill_node()
    new = cluster.wait_primary(cluster.ttl + 20, but=primary)
    check(new is high, f"{new.name} took over, not {high.name}")
    primary.start()
    cluster.wait_healthy(90)


def nofailover_respected(cluster):
    """The only standby that is left has the tag: nobody takes over, and the reason is said."""
    primary = cluster.primary()
    one, two = cluster.standbys()
    for node in (one, two):
        restart_with(cluster, node, "tags: {nofailover: true}\n")
    cluster.wait_healthy(30)
    primary.kill_node()
    end = now() + cluster.ttl + 5
    while now() < end:
        check(cluster.primary() is None, "a node with nofailover took over")
        time.sleep(0.2)
    said = listing(one)
    check("nofailover" in said, f"the reason is not said: {said}")
    for node in (one, two):
        restart_with(cluster, node, "")
    cluster.wait_primary(cluster.ttl + 20, but=primary)
    primary.start()
    cluster.wait_healthy(90)


def lag_limit_respected(cluster):
    """Both standbys lack more than maximum_lag_on_failover: nobody takes over before the old primary returns."""
    primary = cluster.primary()
    standbys = cluster.standbys()
    for node in standbys:
        node.signal_walreceiver(signal.SIGSTOP)
    primary.sql("CREATE TABLE lag AS SELECT generate_series(1, 600000) AS a", 60)
    time.sleep(3)  # the position is published
    primary.kill_node()
    for node in standbys:
        node.signal_walreceiver(signal.SIGCONT)
    end = now() + cluster.ttl + 5
    wait_listed(standbys[0], f" {primary.name}: unknown: it has not answered", seconds=cluster.ttl)
    while now() < end:
        check(cluster.primary() is None, "a standby that lags took over")
        time.sleep(0.2)
    said = listing(standbys[0])
    check("There is no leader, the last one was " + primary.name in said, f"the dead leader is still shown: {said}")
    check("maximum_lag_on_failover" in said, f"the reason is not said: {said}")
    primary.start()
    # It leads again, or a standby that has fetched from it what it lacked: whoever it is has every row.
    new = cluster.wait_primary(30)
    check(new.sql("SELECT count(*) FROM lag") == "600000", f"{new.name} leads and lacks rows")
    cluster.wait_healthy(90)
    check(standbys[0].sql("SELECT count(*) FROM lag") == "600000", "rows are missing")


@group(priority_decides, nofailover_respected, lag_limit_respected, seconds=44)
def candidates():
    return Tagged(new_folder(), ttl=TTL, loop_wait=1, settings="    maximum_lag_on_failover: 1MB")


# --- the store -----------------------------------------------------------------------------------------------------------

def store_not_there(cluster):
    """Agents wait for a store that does not answer and say so; when it appears the cluster is made."""
    for at in range(3):
        cluster.store.kill(at)
    cluster.start()
    node = cluster.nodes[0]
    port = cluster.etcd[0].rsplit(":", 1)[1]
    wait_until("the agent answers", lambda: node.get("/liveness")[0] != 0, 15)
    code, said = baton(cluster, "list", "-c", node.config)
    said = wait_listed(node, "refused", "connect to", "does not answer", "cannot be reached", seconds=10)
    check(":" + port in said or any(one in said for one in cluster.etcd), f"it does not say where: {said}")
    check(code == 0, f"exit code {code}")
    for one in cluster.nodes:
        check(one.agent.poll() is None, f"the agent of {one.name} has ended")
        check(not os.path.exists(os.path.join(one.data, "PG_VERSION")), f"{one.name} has made a cluster")
    for at in range(3):
        cluster.store.start(at)
    cluster.wait_healthy(90)


def have_all(cluster):
    """Each standby has all that the primary has."""
    text = cluster.primary().sql("SELECT count(*) FROM pg_stat_replication WHERE flush_lsn = pg_current_wal_lsn()")
    return int(text) == len(cluster.nodes) - 1


def store_wiped(cluster):
    """Everything dies, and the store starts empty: the same cluster goes on by itself, on a timeline that leaves out what the
    store may have forgotten. More than once."""
    system = cluster.wait_primary().status()["database_system_identifier"]
    for _ in range(2):
        before = cluster.wait_primary().status()["timeline"]
        resume_load(cluster)
        cluster.stop_load()
        wait_until("the standbys have all", lambda: have_all(cluster), 10)
        for node in cluster.nodes:
            node.kill_node()
        cluster.store.wipe()
        begin = now()
        cluster.start()
        cluster.wait_healthy(60)
        status = cluster.wait_primary().status()
        note(f"store wiped: healthy after {now() - begin:.1f} s, timeline {before}, then {status['timeline']}")
        check(status["database_system_identifier"] == system, "it is another cluster")
        check(status["timeline"] > before, f"timeline {status['timeline']} after {before}")
        check_no_loss(cluster)


@group(store_not_there, store_wiped, seconds=30)
def late_store():
    folder = new_folder()
    store = Etcd(folder)
    cluster = Cluster(os.path.join(folder, "cluster"), ttl=TTL, loop_wait=1, etcd=store.clients)
    cluster.store = store
    return cluster


# --- full disks -----------------------------------------------------------------------------------------------------------

DISK_MB = 320


class SmallDisks(Cluster):
    """Each node's data lies on a small file system of its own; the runtime folder on another one."""

    def mount(self):
        for node in self.nodes:
            for name, size in (("disk", DISK_MB), ("run", 8)):
                path = os.path.join(node.folder, name)
                os.mkdir(path)
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=755", "baton-test", path], check=True)
                self.own(path)
            node.data = os.path.join(node.folder, "disk", "data")
            node.write_config()

    def render_config(self, node):
        return super().render_config(node) + f"  runtime_dir: {node.folder}/run/baton\n"

    def stop(self):
        super().stop()
        for node in self.nodes:
            for name in ("disk", "run"):
                subprocess.run(["umount", "-l", os.path.join(node.folder, name)], check=False, stderr=subprocess.DEVNULL)


def fill(path, leave=0):
    """A file that takes what is left of a file system, but so many bytes.

    In pieces: what somebody else takes meanwhile would make one large piece fail, and nothing were filled."""
    name = os.path.join(path, "ballast")
    at, piece = 0, 16 << 20
    with open(name, "wb") as file:
        while piece >= 4096:
            facts = os.statvfs(path)
            try:
                if facts.f_bavail * facts.f_frsize - leave < piece:
                    raise OSError
                os.posix_fallocate(file.fileno(), at, piece)
                at += piece
            except OSError:
                piece //= 2
    return name


def disks_up(cluster):
    cluster.mount()
    cluster.start()
    cluster.wait_healthy(90)
    resume_load(cluster)


def slow_standby_disk_full(cluster):
    """The standby fails alone, is not shown as healthy, and streams again when there is room."""
    node = cluster.standbys()[0]
    with bystander(cluster, 4.0):
        ballast = fill(os.path.dirname(node.data))
        try:
            primary = cluster.primary()
            primary.sql("CREATE TABLE much (a int)")
            end = now() + 60
            # It has segments in store, so nobody knows how much it takes.
            while node.status().get("replication_state") == "streaming":
                check(now() < end, "the standby streams on without room")
                primary.sql("INSERT INTO much SELECT generate_series(1, 50000)", 60)
                time.sleep(0.5)
            said = wait_listed(node, "No space left", "could not write", "could not extend", seconds=30)
            note("standby's disk full: " + said.split("\n", 4)[-1].replace("\n", " | "))
        finally:
            os.remove(ballast)
        cluster.wait_healthy(60)


def slow_primary_disk_full(cluster):
    """A standby takes over or writes pause; nothing is lost; the old one re-joins when there is room."""
    primary = cluster.primary()
    begin = now()
    ballast = fill(os.path.dirname(primary.data))
    try:
        try:
            primary.sql("CREATE TABLE too_much AS SELECT generate_series(1, 2000000) AS a", 30)
        except Failure as failure:
            note(f"primary's disk full: {str(failure)[:160]}")
        # Whether it can go on is a matter of what it finds in store: a server that has no room for a table says so and
        # runs on, one that has none for its log ends.
        time.sleep(2 * TTL)
    finally:
        os.remove(ballast)
    cluster.wait_acks(20, 60)
    note(f"primary's disk full: writes paused for {cluster.longest_gap(begin):.1f} s, the primary is "
         f"{cluster.wait_primary().name} (was {primary.name})")
    cluster.wait_healthy(90)
    check_no_loss(cluster)


def runtime_disk_full(cluster):
    """No room for what the agent writes beside the data: the server and the lease are not harmed."""
    primary = cluster.primary()
    with bystander(cluster):
        ballast = fill(os.path.join(primary.folder, "run"))
        try:
            time.sleep(TTL + 1)
            primary.kill_agent()
            primary.start()
            wait_until("the agent holds the lease again", primary.is_primary, 10)
        finally:
            os.remove(ballast)
        cluster.wait_healthy(30)


@group(disks_up, runtime_disk_full, slow_standby_disk_full, slow_primary_disk_full, seconds=35)
def disks():
    if not is_root():
        return "needs root"
    return SmallDisks(new_folder(), ttl=TTL, loop_wait=1, settings="    maximum_lag_on_failover: 1GB")
