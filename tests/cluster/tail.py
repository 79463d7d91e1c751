"""The end of a dead primary's log, shipped to a standby (src/ha/tail.c): sooner than a start where it was, or not at all.

The lines of these tests begin with "cluster/tail/". Replication is asynchronous, checkpoints are rare, so that a start after a
crash has much to replay. A standby lacks the end of the log because its receiver was stopped while it was written.
"""

import hashlib
import hmac
import json
import os
import signal
import time
import urllib.error
import urllib.request

from cluster import Cluster, now, send_signal, wait_until
from faults import log_end, log_since
import groups
from groups import check, check_no_loss, new_folder, note

GROUPS = []
group = groups.into(GROUPS, "tail")

RECOVERY_MB = 200  # of log that costs little to write and to replay: what it would take is judged by its length
TAIL_ROWS = 250000  # some 16 MB; what the sockets between hold dies with the receivers
LONG_ROWS = 1000000  # more than is ever shipped
SHORT_LIFE = 10  # src/agent/facts.c: a server that ends twice in a row so soon after its start is given up
SETTINGS = """        checkpoint_timeout: 1h
        max_wal_size: 4GB
        min_wal_size: 1GB
"""


def up(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    cluster.start_load()


def write(node, rows, table):
    node.sql(f"CREATE TABLE {table} AS SELECT generate_series(1, {rows}) AS a", 120)


def signing_key(node):
    with open(os.path.join(node.data + ".baton", "accounts.json"), encoding="utf-8") as file:
        password = json.load(file)["replication"]
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"baton wal demo", 4096, 64)[:32]


def ask(node, numbers, mac):
    """(status, bytes) of a question with this signature."""
    try:
        with urllib.request.urlopen(f"http://{node.host}:{node.rest}/baton/wal?{numbers}&mac={mac}", timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def prepare(cluster, rows, name, may_start_again):
    """Much to replay, all of it streamed, and then ROWS that stay where they are: (primary, its standbys)."""
    cluster.wait_healthy(60)
    primary = cluster.wait_primary()
    primary.sql("CHECKPOINT", 60)
    primary.sql("SELECT count(pg_logical_emit_message(false, 'test', repeat('x', 1 << 20)))"
                f" FROM generate_series(1, {RECOVERY_MB})", 120)
    end = primary.sql("SELECT pg_current_wal_flush_lsn()")
    standbys = cluster.standbys()
    wait_until("the standbys have replayed it", lambda: all(
        one.sql(f"SELECT pg_last_wal_replay_lsn() >= '{end}'") == "t" for one in standbys), 60)
    if may_start_again:
        wait_until("the server is no longer a new one", lambda: primary.sql(
            f"SELECT now() > pg_postmaster_start_time() + interval '{SHORT_LIFE + 1} s'") == "t", 30, 0.5)
    time.sleep(2)  # the agents have asked since: nobody is asked whom they know to lack more than is ever shipped
    for node in standbys:
        node.signal_walreceiver(signal.SIGSTOP)
    write(primary, rows, f"tail_{name}")
    cluster.wait_acks(5)
    return primary, standbys


def kill(primary, standbys):
    """The server of the primary; the receivers end with what they have, however much is on its way to them."""
    primary.kill_server()
    for number in (signal.SIGTERM, signal.SIGCONT):
        for node in standbys:
            node.signal_walreceiver(number)


def kept(cluster, rows, name):
    node = cluster.wait_primary(30)
    check(node.sql(f"SELECT count(*) FROM tail_{name}") == str(rows), "what no standby had is lost")
    cluster.wait_healthy(90)
    check_no_loss(cluster)


def shipped(cluster):
    """A standby gets what it lacks from the dead server's agent, and takes over with all of it."""
    primary, standbys = prepare(cluster, TAIL_ROWS, "shipped", False)
    positions = {node.name: log_end(node) for node in cluster.nodes}
    begin = now()
    kill(primary, standbys)
    cluster.wait_acks(20, 60)
    new = cluster.wait_primary(30)
    said = {node.name: log_since(node, positions[node.name]) for node in cluster.nodes}
    note(f"the end of the log shipped: writes paused for {cluster.longest_gap(begin):.2f} s")
    check("rule=tail.wait " in said[primary.name], "nothing was offered")
    check(new is not primary, "the server was started where it was")
    check("rule=tail.fetch " in said[new.name] and "fetch is done" in said[new.name], f"{new.name} has not got it")
    kept(cluster, TAIL_ROWS, "shipped")
    check("rule=rewind.run " not in log_since(primary, positions[primary.name]), "the old primary had to be rewound")


def too_long(cluster):
    """More is missing than is ever shipped: the server starts where it was, and nothing is lost."""
    primary, standbys = prepare(cluster, LONG_ROWS, "long", True)
    position = log_end(primary)
    begin = now()
    kill(primary, standbys)
    cluster.wait_acks(20, 120)
    note(f"started where it was: writes paused for {cluster.longest_gap(begin):.2f} s")
    check("rule=tail.wait " not in log_since(primary, position), "it was offered")
    check(cluster.wait_primary(30) is primary, "another node has taken over")
    kept(cluster, LONG_ROWS, "long")


def interrupted(cluster):
    """The standbys' servers do not hear that they are to follow nobody, so none can detach: it is waited for within bounds, then
    the server starts where it was. Meanwhile only whoever knows the password is given bytes."""
    primary, standbys = prepare(cluster, TAIL_ROWS, "stuck", True)
    position = log_end(primary)
    key = signing_key(primary)
    system = primary.status()["database_system_identifier"]
    timeline = primary.status()["timeline"]
    end = int(primary.sql("SELECT pg_current_wal_flush_lsn() - '0/0'"))
    numbers = f"system={system}&timeline={timeline}&from={end - 8192}&to={end}"
    mac = hmac.new(key, numbers.encode(), hashlib.sha256).hexdigest()
    wrong = hmac.new(b"guessed", numbers.encode(), hashlib.sha256).hexdigest()
    check(ask(primary, numbers, mac)[0] == 409, "a running server's log is given away")
    check(ask(primary, numbers, wrong)[0] == 403, "a wrong signature is not refused")
    for node in standbys:
        send_signal(node.postmaster(), signal.SIGSTOP)
    begin = now()
    primary.kill_server()
    wait_until("the end is offered", lambda: primary.status().get("baton", {}).get("tail_for"), 5, 0.005)
    refused, right, other = ask(primary, numbers, wrong), ask(primary, numbers, mac), ask(primary, numbers + "0", mac)
    check(refused[0] == 403 and len(refused[1]) < 200, f"a wrong signature: {refused[0]}")
    check(other[0] in (400, 403), f"a signature of something else: {other[0]}")
    check(right[0] == 200 and len(right[1]) == 8192 + 28, f"a right signature: {right[0]}")
    wait_until("the server is started again", lambda: "rule=start.again " in log_since(primary, position), 10)
    for node in standbys:
        send_signal(node.postmaster(), signal.SIGCONT)
        node.signal_walreceiver(signal.SIGCONT)
    cluster.wait_acks(20, 120)
    note(f"waited for in vain: writes paused for {cluster.longest_gap(begin):.2f} s")
    check("rule=tail.wait " in log_since(primary, position), "nothing was offered")
    check(cluster.wait_primary(30) is primary, "another node has taken over")
    kept(cluster, TAIL_ROWS, "stuck")


def agent_dies_giving(cluster):
    """The agent that gives the end of the log dies with it under way: whoever leads afterwards, the nodes agree."""
    primary, standbys = prepare(cluster, TAIL_ROWS, "given", False)
    positions = {node.name: log_end(node) for node in standbys}
    kill(primary, standbys)
    wait_until("a standby gets it", lambda: any(
        "rule=tail.fetch " in log_since(node, positions[node.name]) for node in standbys), 5, 0.002)
    primary.kill_agent()
    time.sleep(1)
    primary.start()
    cluster.wait_acks(20, 120)
    cluster.wait_healthy(120)
    rows = {node.sql("SELECT count(*) FROM tail_given") for node in cluster.nodes}
    check(rows == {str(TAIL_ROWS)}, f"the nodes do not agree, or lack it: {rows}")
    check_no_loss(cluster)


# A standby whose fetch has failed does not begin another one for 5 s: nothing that needs one follows upon the last test.
@group(up, shipped, too_long, agent_dies_giving, interrupted, seconds=60, alone=True)
def asynchronous():
    return Cluster(os.path.join(new_folder(), "cluster"), ttl=10, loop_wait=1, settings=SETTINGS)
