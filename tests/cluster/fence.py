"""The fence inside the server (ext/baton_fence): no commit and no "ok" without the lease, whatever agent and guard do.

The lines of these tests begin with "cluster/fence/". `BATON_TEST_FENCE=off tests/cluster/run fence` runs them with the
module left out: those that are about the fence must fail then, which shows that they can.
"""

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from cluster import BUILD, LOAD, LOAD_PAUSE_MS, PSQL, Cluster, Failure, children_of, now, send_signal, wait_until
import groups
from groups import check, new_folder, note

GROUPS = []
TTL = 5
ROUNDS = 2
WRITERS = 8
WISH = os.environ.get("BATON_TEST_FENCE", "on")

group = groups.into(GROUPS, "fence")


# --- tools -------------------------------------------------------------------------------------------------------------

class Session:
    """psql on one connection, fed a statement at a time; everything that it says is in `said`."""

    def __init__(self, node, user="postgres", password=None):
        self.file = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        self.process = subprocess.Popen(
            node.inside() + [PSQL, "-XAt", "-v", "VERBOSITY=verbose", "-d",
                             node.conninfo(user, password) + " connect_timeout=20"],
            stdin=subprocess.PIPE, stdout=self.file, stderr=self.file, text=True)
        self.send("SELECT 'pid', pg_backend_pid();")
        try:
            wait_until("a session", lambda: "pid|" in self.said(), 20)
        except Failure as failure:
            raise Failure(f"{failure}; psql (exit status {self.process.poll()}) says: {self.said()}") from None
        self.pid = int(self.said().split("pid|")[1].split()[0])

    def send(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def said(self):
        size = os.fstat(self.file.fileno()).st_size
        return os.pread(self.file.fileno(), size, 0).decode()

    def run(self, text, seconds=10):
        """What it says to TEXT."""
        before, mark = len(self.said()), f"mark{now():.9f}"
        self.send(f"{text}\n\\echo {mark}")
        wait_until(f"the end of {text}", lambda: mark in self.said()[before:], seconds)
        return self.said()[before:].split(mark)[0]

    def hears(self, *words):
        """Everything that it has heard, as soon as one of the words is in it, or the connection has ended it."""
        wait_until(f"an answer with {' or '.join(words)}", lambda: self.process.poll() is not None or
                   any(word in self.said() for word in words), 15)
        return self.said()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.file.close()


@contextlib.contextmanager
def session(node, **options):
    made = Session(node, **options)
    try:
        yield made
    finally:
        made.close()


def show(node, name):
    return node.sql(f"SELECT current_setting('baton_fence.{name}', true)")


def fence_of(node):
    return node.status().get("baton", {}).get("fence", "")


def check_no_restart(node):
    waiting = node.sql("SELECT string_agg(name, ' ') FROM pg_settings WHERE pending_restart AND"
                       " (name = 'shared_preload_libraries' OR name LIKE 'baton_fence%')")
    check(waiting == "", f"{node.name} waits for a restart: {waiting}")


@contextlib.contextmanager
def frozen(pids):
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def keepers(node):
    """The agent and the guard of the server: who else could stop it."""
    return [node.agent.pid] + node.guards()


def clients_of(node):
    """The processes of the server that serve clients."""
    found = []
    for pid in children_of(node.postmaster()):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if "walsender" not in text and "127.0.0.1(" in text:
            found.append(pid)
    return found


def set_standby_names(node, names):
    node.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    node.sql("SELECT pg_reload_conf()")
    wanted = "on" if names else "off"
    wait_until(f"baton_fence.sync_defined is {wanted}", lambda: show(node, "sync_defined") in (wanted, ""), 10)
    if show(node, "sync_defined") == "":
        time.sleep(1)


@contextlib.contextmanager
def standby_names(node, names):
    set_standby_names(node, names)
    try:
        yield
    finally:
        set_standby_names(node, "")


def is_past(node):
    """The deadline that the page holds has passed; without the module: twice the time it can have."""
    if WISH == "off":
        time.sleep(2 * TTL)
        return True
    return show(node, "state") == "expired"


# --- the tests ---------------------------------------------------------------------------------------------------------

def loaded_everywhere(cluster):
    """Every server has it, says so, and nothing waits for a restart."""
    cluster.start()
    cluster.wait_healthy(90)
    primary = cluster.wait_primary()
    primary.sql("CREATE TABLE fenced (id int)")
    if WISH == "off":
        return
    for node in cluster.nodes:
        wait_until(f"{node.name} says that its fence enforces", lambda node=node: fence_of(node) == "enforcing", 10)
        check(show(node, "state") == ("open" if node is primary else "unarmed"), f"{node.name}: {show(node, 'state')}")
        check_no_restart(node)
        check("baton_fence{" in node.get("/metrics")[1], "there is no metric")
    check(0 < int(show(primary, "left_ms")) <= TTL * 1000, f"{show(primary, 'left_ms')} ms are left")
    def listed():
        text = subprocess.run([cluster.baton, "list", "-e", "-c", primary.config], capture_output=True, text=True, check=True)
        return "n1 enforcing, n2 enforcing, n3 enforcing" in text.stdout
    wait_until("`baton list -e` shows them", listed, 15, 0.2)


def commit_refused_after_deadline(cluster):
    """Agent and guard stand still; the server alone refuses, and a standby takes over meanwhile."""
    primary = cluster.wait_primary()
    with session(primary) as client, frozen(keepers(primary)):
        wait_until("the deadline passes", lambda: is_past(primary), 3 * TTL, 0.1)
        said = client.run("INSERT INTO fenced VALUES (1);")
        check("ERROR:  25006" in said and "INSERT 0 1" not in said, f"a row was taken after the deadline: {said}")
        said = client.run("SELECT 'still', 'there';")
        check("still|there" in said, f"the connection is gone: {said}")
        cluster.wait_primary(3 * TTL + 20, but=primary)
    cluster.wait_healthy(90)
    check(cluster.primary().sql("SELECT count(*) FROM fenced WHERE id = 1") == "0", "the row is there")


def frozen_between_commit_and_answer(cluster):
    """A backend that stops inside its commit, and goes on when the lease has gone: the client does not hear "ok"."""
    primary = cluster.wait_primary()
    others = keepers(primary)
    with session(primary) as client:
        # It sleeps before the flush, behind the check that comes before the commit.
        client.run("SET commit_delay = 100000; SET commit_siblings = 0;")
        client.send("INSERT INTO fenced VALUES (2);")
        time.sleep(0.03)
        with frozen([client.pid]):
            with frozen(others):
                check("INSERT 0 1" not in client.said(), "too late: the answer is there")
                wait_until("the deadline passes", lambda: is_past(primary), 3 * TTL, 0.1)
                os.kill(client.pid, signal.SIGCONT)
                said = client.hears("08007", "25006", "INSERT 0 1")
                here = primary.sql("SELECT count(*) FROM fenced WHERE id = 2")
                note(f"frozen inside of the commit: {here} row is in the old primary")
    check("INSERT 0 1" not in said, f"the client heard ok: {said}")
    check(here == "1" and "08007" in said or here == "0" and "25006" in said, f"{here} rows: {said}")
    cluster.wait_healthy(90)


def is_asleep(node, pid):
    return node.sql(f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}") == "PgSleep"


def frozen_behind_commit(cluster):
    """Behind a COMMIT, a SELECT of the same message stands still until the lease has gone: its rows push what lies in the
    buffer out, and the word COMMIT lies there."""
    primary = cluster.wait_primary()
    others = keepers(primary)
    with session(primary) as client:
        client.send("BEGIN \\; INSERT INTO fenced VALUES (8) \\; COMMIT \\; SELECT repeat('x', 500),"
                    " pg_sleep(CASE WHEN i = 1 THEN 3 ELSE 0 END) FROM generate_series(1, 100) i;")
        wait_until("it sleeps", lambda: is_asleep(primary, client.pid), 3)
        with frozen([client.pid]):
            with frozen(others):
                check(is_asleep(primary, client.pid) and "COMMIT" not in client.said(), "too late")
                check(primary.sql("SELECT count(*) FROM fenced WHERE id = 8") == "1", "it has not committed: nothing is proven")
                wait_until("the deadline passes", lambda: is_past(primary), 3 * TTL, 0.1)
                os.kill(client.pid, signal.SIGCONT)
                said = client.hears("COMMIT")
    check("COMMIT" not in said, f"the client heard ok: {said[:200]}")
    check("closed the connection" in said, f"the client does not see that the connection has ended: {said[:200]}")
    cluster.wait_healthy(90)


class Crowd:
    """Writers that wait for their answer as long as it takes, and ask nobody else."""

    def __init__(self, cluster, node, count=WRITERS, pause_ms=LOAD_PAUSE_MS):
        self.logs = [os.path.join(cluster.folder, f"crowd-{now():.0f}-{at}.log") for at in range(count)]
        self.writers = [
            subprocess.Popen([LOAD, log, node.conninfo()], stdin=subprocess.DEVNULL,
                             env=dict(os.environ, BATON_LOAD_PATIENCE_MS="120000", BATON_LOAD_PAUSE_MS=str(pause_ms)))
            for log in self.logs]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def is_complete(self):
        """Each of them was served, and all of them for a while."""
        if not all(os.path.exists(log) for log in self.logs):
            return False
        return len(self.rows("ok")) > 200 and all(" ok " in open(log, encoding="ascii").read() for log in self.logs)

    def rows(self, outcome):
        """(seconds, id)"""
        found = []
        for log in self.logs:
            if os.path.exists(log):
                with open(log, encoding="ascii") as file:
                    found += [(int(line.split()[0]) / 1e9, int(line.split()[2])) for line in file
                              if f" {outcome} " in line and line.endswith("\n")]
        return found

    def stop(self):
        for writer in self.writers:
            writer.terminate()
        for writer in self.writers:
            writer.wait(timeout=20)


def frozen_primary(cluster):
    """Everything of a primary stands still for longer than the lease and goes on, its clients' processes first. Nobody
    hears "ok" after that, and no acknowledged row is lost."""
    late = lost = 0
    for at in range(ROUNDS):
        primary = cluster.wait_primary()
        with Crowd(cluster, primary) as crowd:
            wait_until("each of the crowd writes", crowd.is_complete, 60)
            send_signal(primary.postmaster(), signal.SIGSTOP)  # no client is served by a process that is not in the list
            clients = clients_of(primary)
            for pid in clients:
                send_signal(pid, signal.SIGSTOP)
            time.sleep(0.2)  # what they have acknowledged leaves for the standbys; a real pause takes both at one instant
            pids = [pid for pid in primary.signal_node(signal.SIGSTOP) if pid not in clients]
            new = cluster.wait_primary(3 * TTL + 20, but=primary)
            time.sleep(1)
            thaw = now()
            for pid in clients:
                send_signal(pid, signal.SIGCONT)
            time.sleep(0.3)
            for pid in pids:
                send_signal(pid, signal.SIGCONT)
            cluster.wait_healthy(90)
        late += sum(1 for seconds, _ in crowd.rows("ok") if seconds > thaw)
        present = {int(line) for line in new.sql("SELECT id FROM baton_load", 30).split()}
        lost += sum(1 for _, number in crowd.rows("ok") if number not in present)
        note(f"round {at + 1}: {len(crowd.rows('ok'))} acknowledged, {len(crowd.rows('unknown'))} unknown,"
             f" {len(crowd.rows('fail'))} refused")
    check(late == 0 and lost == 0, f"{late} rows were acknowledged after the thaw, {lost} acknowledged rows are lost")


def cancelled_wait_is_unknown(cluster):
    """A wait for standbys that is cut short is no success: by query cancel or terminate, also of prepared ones."""
    primary = cluster.wait_primary()
    ends = {
        "cancel": lambda pid: primary.sql(f"SELECT pg_cancel_backend({pid})"),
        "terminate": lambda pid: primary.sql(f"SELECT pg_terminate_backend({pid})"),
    }
    statements = {
        "insert": "INSERT INTO fenced VALUES (3);",
        "block": "BEGIN; INSERT INTO fenced VALUES (3); COMMIT;",
        "prepare": "BEGIN; INSERT INTO fenced VALUES (3); PREPARE TRANSACTION 'one';",
        "commit prepared": "COMMIT PREPARED 'two';",
    }
    tags = {"insert": "INSERT 0 1", "block": "COMMIT", "prepare": "PREPARE TRANSACTION", "commit prepared": "COMMIT PREPARED"}
    for name, statement in statements.items():
        for end, action in ends.items():
            if name == "commit prepared":
                primary.sql("BEGIN; INSERT INTO fenced VALUES (3); PREPARE TRANSACTION 'two'")
            with session(primary) as client, standby_names(primary, "nobody"):
                client.send(statement)
                time.sleep(0.3)
                action(client.pid)
                said = client.hears("08007", tags[name] + "\n", "closed the connection")
                check("\n" + tags[name] + "\n" not in said, f"{name}, {end}: the client heard ok: {said}")
                check("08007" in said or end == "terminate" and "closed the connection" in said, f"{name}, {end}: {said}")
            if name == "prepare":
                primary.sql("ROLLBACK PREPARED 'one'")


def waits_that_end_well(cluster):
    """With standbys that answer, nothing is in the way, and neither is what waits for nobody."""
    primary = cluster.wait_primary()
    with session(primary) as client:
        with standby_names(primary, "*"):
            for level in ("on", "remote_apply"):
                said = client.run(f"SET synchronous_commit = {level}; INSERT INTO fenced VALUES (4);")
                check("INSERT 0 1" in said, f"{level}: {said}")
            said = client.run("BEGIN; INSERT INTO fenced VALUES (4); PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x';")
            check("COMMIT PREPARED" in said, said)
            said = client.run("SET synchronous_commit = on; CREATE UNLOGGED TABLE u (a int); INSERT INTO u VALUES (1);"
                              "CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1); VACUUM fenced; DROP TABLE u;")
            check("ERROR" not in said and "FATAL" not in said, said)
        # The waiting ends for all when the names are taken away: that was the operator's word.
        set_standby_names(primary, "nobody")
        client.send("INSERT INTO fenced VALUES (4);")
        time.sleep(0.3)
        set_standby_names(primary, "")
        said = client.run("\\echo")
        check("INSERT 0 1" in client.said().split("DROP TABLE")[-1], f"the waiter was not let go: {client.said()}")


def lower_commit_refused(cluster):
    """Where standbys are waited for, a session cannot choose not to, unless a superuser lets it."""
    primary = cluster.wait_primary()
    primary.sql("CREATE ROLE app LOGIN PASSWORD 'app'; GRANT INSERT ON fenced TO app")
    with session(primary) as client, session(primary, user="app", password="app") as app:
        check("INSERT 0 1" in app.run("SET synchronous_commit = off; INSERT INTO fenced VALUES (5);"), "without standbys")
        with standby_names(primary, "*"):
            for level in ("off", "local", "remote_write"):
                for one in (client, app):
                    said = one.run(f"SET synchronous_commit = {level}; INSERT INTO fenced VALUES (5);")
                    check("ERROR:  55000" in said and "INSERT 0 1" not in said, f"{level} was taken: {said}")
            said = app.run("SET baton_fence.allow_local_commit = on;")
            check("42501" in said, f"everybody may allow it: {said}")
            said = client.run("SET baton_fence.allow_local_commit = on; SET synchronous_commit = local;"
                              "INSERT INTO fenced VALUES (5);")
            check("INSERT 0 1" in said, f"a superuser cannot allow it: {said}")
            check("INSERT 0 1" in app.run("SET synchronous_commit = on; INSERT INTO fenced VALUES (5);"), "on is refused")
    primary.sql("DROP OWNED BY app; DROP ROLE app")


def bad_page_refuses(cluster):
    """A page that makes no sense says no; the agent makes it good with the next renewal."""
    primary = cluster.wait_primary()
    path = primary.lease_page()
    with session(primary) as client:
        for name, damage in (("damaged", lambda file: file.write(b"\xa5" * 8)), ("cut", lambda file: file.truncate(20)),
                             ("empty", lambda file: file.truncate(0))):
            with frozen([primary.agent.pid]):
                with open(path, "r+b") as file:
                    file.seek(16)
                    damage(file)
                said = client.run("INSERT INTO fenced VALUES (6);")
                check("25006" in said and "cannot be read" in said, f"{name}: {said}")
            wait_until(f"{name}: the page is good again", lambda: show(primary, "state") == "open", 5)
            said = client.run("INSERT INTO fenced VALUES (7);")
            check("INSERT 0 1" in said, f"{name}: {said}")
        os.unlink(path)
        time.sleep(1)
        check("INSERT 0 1" in client.run("INSERT INTO fenced VALUES (7);"), "removed")
        time.sleep(TTL + 1)
        check("INSERT 0 1" in client.run("INSERT INTO fenced VALUES (7);"), "removed, after the next renewals")
    check(primary is cluster.primary(), "the primary moved")


def agent_restarted(cluster):
    """An agent that dies and comes back is not noticed by those who write."""
    primary, begin = cluster.wait_primary(), now()
    cluster.start_load()
    pid = primary.postmaster()
    primary.kill_agent()
    time.sleep(0.5)
    primary.start()
    wait_until("the agent holds the lease again", primary.is_primary, 10)
    time.sleep(TTL + 1)
    cluster.wait_acks()
    check(primary.postmaster() == pid, "the server was restarted")
    check(not cluster.outcomes("fail"), "a row was refused")
    check(cluster.longest_gap(begin) < 1.0, f"writes paused for {cluster.longest_gap(begin):.2f} s")
    cluster.stop_load()
    present = set(primary.sql("SELECT id FROM baton_load", 30).split())
    lost = [row[2] for row in cluster.outcomes("ok") if str(row[2]) not in present]
    check(not lost, f"{len(lost)} acknowledged rows are lost")


def hand_promoted_never_writes(cluster):
    """A standby that somebody promotes by hand takes no row, although nobody stops it."""
    standby = cluster.standbys()[0]
    with Crowd(cluster, standby) as crowd, frozen(keepers(standby)):
        check(standby.sql("SELECT pg_promote()", 60) == "t", "it was not promoted")
        wait_until("somebody tries to write", lambda: crowd.rows("fail") or crowd.rows("ok"), 20)
        time.sleep(1)
    check(not crowd.rows("ok"), f"{len(crowd.rows('ok'))} rows were acknowledged by it")
    cluster.wait_healthy(90)


def broken_module(cluster, node, modules, names):
    """One that cannot be loaded does not keep the server from running, and is named."""
    os.makedirs(modules)
    for name in names:
        with open(os.path.join(modules, name), "w", encoding="ascii") as file:
            file.write("no library")
    node.kill_node()
    node.start()
    cluster.wait_healthy(60)
    check(fence_of(node) == "absent", fence_of(node))
    wait_until("it says why", lambda: "it runs without baton_fence" in subprocess.run(
        [cluster.baton, "list", "-c", node.config], capture_output=True, text=True, check=True).stdout, 15, 0.3)


def module_comes_and_goes(cluster):
    """Without the module a server starts without; one that runs is not asked to restart for it; `on` says what is missing."""
    node = cluster.standbys()[0]
    modules = os.path.join(cluster.folder, "bin", "ext")
    aside = modules + ".aside"
    with open(node.config, encoding="utf-8") as file:
        before = file.read()
    node.kill_node()
    os.rename(modules, aside)
    try:
        node.start()
        wait_until("it says what is missing", lambda: "postgresql.fence is on" in subprocess.run(
            [cluster.baton, "list", "-c", cluster.primary().config], capture_output=True, text=True, check=True).stdout, 30, 0.3)
        node.kill_node()
        with open(node.config, "w", encoding="utf-8") as file:
            file.write(before.replace("fence: on", "fence: auto"))
        node.start()
        cluster.wait_healthy(60)
        wait_until("it has no fence", lambda: fence_of(node) == "absent", 10)
        broken_module(cluster, node, modules, os.listdir(aside))
    finally:
        shutil.rmtree(modules, ignore_errors=True)
        os.rename(aside, modules)
    node.kill_agent()
    node.start()
    cluster.wait_healthy(60)
    node.sql("SELECT pg_reload_conf()")
    time.sleep(2)
    check(fence_of(node) == "absent", "it came by itself")
    check_no_restart(node)
    node.kill_node()
    node.start()
    cluster.wait_healthy(60)
    wait_until("it has the fence", lambda: fence_of(node) == "enforcing", 10)
    with open(node.config, "w", encoding="utf-8") as file:
        file.write(before)


def own_libraries_stay(cluster):
    """What the user loads is loaded, wherever it is set, and a restart is asked for only when the user changed it."""
    node = cluster.standbys()[0]
    node.sql("SELECT 1")
    base = os.path.join(node.data, "postgresql.base.conf")
    with open(base, "a", encoding="utf-8") as file:
        file.write("shared_preload_libraries = 'auto_explain'\t# mine\n")
    node.kill_node()
    node.start()
    cluster.wait_healthy(60)
    check(node.sql("SHOW shared_preload_libraries").startswith("auto_explain, "), node.sql("SHOW shared_preload_libraries"))
    check(fence_of(node) == "enforcing", json.dumps(node.status()))
    check_no_restart(node)


tests = (loaded_everywhere, commit_refused_after_deadline, frozen_between_commit_and_answer, frozen_behind_commit,
         frozen_primary, cancelled_wait_is_unknown, waits_that_end_well, lower_commit_refused, bad_page_refuses,
         agent_restarted, hand_promoted_never_writes, module_comes_and_goes, own_libraries_stay)


@group(*tests, seconds=95)
def fenced():
    if not glob.glob(os.path.join(BUILD, "ext", "baton_fence-*.so")):
        return "baton_fence was not built: there are no headers of PostgreSQL's server"
    return Cluster(new_folder(), ttl=TTL, loop_wait=1, settings="        max_prepared_transactions: 10",
                   node_settings=f"  fence: {WISH}\n")
