"""S and R: disks, and the relation between the data of a primary and its standbys."""

import os
import shutil
import signal
import time

from cluster import PSQL, Failure, children_of, send_signal
from faults import fill, newest_bin_dir, remove_wal
from fault import SYNC, check, end_of, log_end, log_since, pick, resume, row, stop, strace, victim, watch
from world import command_line


@row("S1", 1, "I1", needs=["disk"])
def data_disk_full(w, step):
    """The data's file system has no room left, while much is written."""
    node = pick(w, step, "primary", "standby")
    ballast = fill(os.path.join(node.folder, "disk"))
    end = time.monotonic() + step.chance.uniform(8, 12)
    while time.monotonic() < end:
        try:
            w.primary().sql("CREATE TABLE much AS SELECT generate_series(1, 200000) AS a; DROP TABLE much", 10)
        except Exception as failure:
            w.say(str(failure)[-60:].replace("\n", " "))
            break
    w.hold(max(0.0, end - time.monotonic()))
    os.remove(ballast)


@row("S2", 0, "I2", needs=["disk"])
def runtime_disk_full(w, _step):
    """No room for what the agent writes beside the data; then it restarts."""
    node = victim(w)
    ballast = fill(os.path.join(node.folder, "run"))
    w.hold(w.ttl)
    node.kill_agent()
    node.start()
    w.hold(w.ttl)
    os.remove(ballast)


@row("S3", 1, "I1", needs=["strace"])
def flush_fails(w, step):
    """The primary's flushes fail with an I/O error for some seconds."""
    node = victim(w)
    process = strace(w, node.server_pids(), "trace=fdatasync,fsync", "inject=fdatasync,fsync:error=EIO")
    w.hold(step.chance.uniform(2, 4))
    end_of(process)
    w.hold(3)


@row("S4", 1, "I7", needs=["strace"])
def flush_slow(w, step):
    """Each flush of the primary takes 0.8 seconds more; the lease does not depend on it."""
    node = victim(w)
    process = strace(w, node.server_pids(), "trace=fdatasync,fsync", "inject=fdatasync,fsync:delay_enter=800000")
    w.hold(step.chance.uniform(8, 12))
    end_of(process)


@row("S5", 1, "I5", needs=["disk"])
def disk_dies(w, step):
    """A disk takes nothing any more and forgets what it had not written; the node returns with what it has."""
    node = pick(w, step, "primary", "standby")
    node.disk_dies()
    w.hold(w.ttl + step.chance.uniform(4, 8))
    node.kill_node()
    node.disk_returns()
    node.start()


@row("S7", 0, "I3 I4")
def control_file_damaged(w, step):
    """A standby comes back with a damaged pg_control: it is neither promoted nor copied over."""
    node = pick(w, step, "standby")
    node.kill_node()
    path = os.path.join(node.data, "global", "pg_control")
    with open(path, "r+b") as file:
        good = file.read()
        file.seek(100)
        file.write(b"\xff" * 64)
    node.start()
    w.hold(w.ttl)
    check(not node.is_primary(), "it leads")
    node.kill_node()
    with open(path, "r+b") as file:
        file.write(good)
    node.start()


@row("S9", 1, "I3 I4")
def data_emptied(w, step):
    """A node comes back with an empty data directory: it copies the cluster and makes no new one."""
    node = pick(w, step, "primary", "standby")
    system = node.status()["database_system_identifier"]
    node.kill_node()
    shutil.rmtree(node.data)
    os.mkdir(node.data, 0o700)
    w.cluster.own(node.data)
    node.start()
    w.hold(w.ttl + 2)
    w.cluster.wait_healthy(90)
    check({one.status()["database_system_identifier"] for one in w.nodes} == {system}, "it is another cluster")


def starve(w, step, change):
    """A standby stays away until the primary has removed what it needs; CHANGE is undone at the end."""
    primary, node = w.primary(), pick(w, step, "standby")
    node.kill_node()
    primary.sql(f"ALTER SYSTEM SET {change}")
    primary.sql("SELECT pg_reload_conf()")
    remove_wal(primary, node)
    node.start()
    w.cluster.wait_healthy(90)
    primary.sql(f"ALTER SYSTEM RESET {change.split(' ')[0]}")
    primary.sql("SELECT pg_reload_conf()")


@row("R1", 0, "I6 I4")
def log_recycled(w, step):
    """The primary has removed the log that a standby needs."""
    starve(w, step, "wal_keep_size = 0")


@row("R2", 0, "I6")
def slot_lost(w, step):
    """A standby's slot is given up, because it keeps too much."""
    primary, node = w.primary(), pick(w, step, "standby")
    node.kill_node()
    for change in ("max_slot_wal_keep_size = '1MB'", "wal_keep_size = 0"):
        primary.sql(f"ALTER SYSTEM SET {change}")
    primary.sql("SELECT pg_reload_conf()")
    for _ in range(4):
        primary.sql("CREATE TABLE much AS SELECT generate_series(1, 300000) AS a; DROP TABLE much", 30)
        primary.sql("SELECT pg_switch_wal()")
        primary.sql("CHECKPOINT", 30)
    w.say(primary.sql(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{node.name}'"))
    node.start()
    w.cluster.wait_healthy(90)
    for change in ("max_slot_wal_keep_size", "wal_keep_size"):
        primary.sql(f"ALTER SYSTEM RESET {change}")
    primary.sql("SELECT pg_reload_conf()")


def diverge(w, step):
    """The primary dies with rows that no standby has; it and the new one."""
    node = victim(w)
    others = w.others_of(node)
    stopped = [pid for one in others for pid in stop(one.server_pids("walreceiver"))]
    w.hold(step.chance.uniform(1, 2))
    try:
        node.sql("CREATE TABLE only_here AS SELECT generate_series(1, 200000) AS a", 10)
    except Exception:
        w.say("nothing could be written without standbys")
    node.kill_node()
    resume(stopped)
    new = w.cluster.wait_primary(w.ttl + 30, but=node)
    try:
        new.sql("CREATE TABLE IF NOT EXISTS only_there (a int); DROP TABLE only_there; DROP TABLE IF EXISTS only_here")
    except Failure as failure:
        w.say(str(failure)[-60:])
    return node, new


@row("R3", 1, "I6")
def diverged(w, step):
    """The old primary has rows that nobody got: it is rewound."""
    node, _ = diverge(w, step)
    node.start()
    w.cluster.wait_healthy(90)


@row("R4", 1, "I3")
def rewind_killed(w, step):
    """pg_rewind is killed while it works."""
    node, _ = diverge(w, step)
    node.start()
    def rewinding():
        return [pid for pid in children_of(node.agent.pid) if "pg_rewind" in command_line(pid)]
    pids = watch(20, rewinding, 0.002)
    w.say("killed in the rewind" if pids else "there was no rewind")
    w.hold(step.chance.uniform(0, 0.1))
    for pid in pids or ():
        send_signal(pid, signal.SIGKILL)
    if pids and step.chance.random() < 0.5:
        node.kill_agent()
        node.start()
    w.cluster.wait_healthy(90)


@row("R5", 1, "I4")
def rewind_forbidden(w, step):
    """The old primary may not be rewound: it is copied anew, and the old data is kept aside."""
    node, _ = diverge(w, step)
    kept = set(os.listdir(os.path.dirname(node.data)))
    node.extra = "  use_pg_rewind: false\n"
    node.write_config()
    position = log_end(node)
    node.start()
    w.cluster.wait_healthy(90)
    aside = [one for one in os.listdir(os.path.dirname(node.data)) if one.startswith("data.") and one not in kept]
    is_diverged = "rule=clone.diverged" in log_since(node, position)
    w.say(f"aside: {', '.join(aside) or 'nothing'}")
    node.extra = ""
    node.write_config()
    send_signal(node.agent.pid, signal.SIGHUP)
    check(aside or not is_diverged, "the old data was not kept")
    for one in aside:
        shutil.rmtree(os.path.join(os.path.dirname(node.data), one))


@row("R6", 1, "I6")
def source_dies_in_clone(w, step):
    """The server that a new standby copies dies in the middle."""
    primary, node = w.primary(), pick(w, step, "standby")
    node.kill_node()
    shutil.rmtree(node.data)
    node.start()
    def copying():
        return [pid for pid in children_of(node.agent.pid) if "pg_basebackup" in command_line(pid)]
    w.say("killed in the copy" if watch(20, copying) else "there was no copy")
    primary.kill_server()
    w.hold(3)
    w.cluster.wait_healthy(90)


@row("R7", 1, "I3")
def replay_stopped(w, step):
    """A standby receives and does not replay; then the primary dies."""
    node, lazy = w.primary(), pick(w, step, "standby")
    pids = stop(lazy.server_pids("startup"))
    w.hold(3)
    node.kill_node()
    w.hold(w.ttl + 4)
    resume(pids)
    node.start()


@row("R8", 1, "I1")
def replay_conflict(w, step):
    """Long queries on the standbys stand in the way of replay; then the primary dies."""
    node = victim(w)
    for other in w.others_of(node):
        w.spawn(other.inside() + [PSQL, "-Xq", "-d", other.conninfo(), "-c",
                                  "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM chaos_loose; "
                                  "SELECT pg_sleep(15)"])
    w.hold(0.5)
    node.sql("DELETE FROM chaos_loose WHERE id % 2 = 0", 10)
    node.sql("VACUUM (FREEZE) chaos_loose", 20)
    w.hold(1)
    node.kill_node()
    w.hold(w.ttl + step.chance.uniform(3, 6))
    node.start()


@row("R10", 1, "I8")
def equal_standbys(w, step):
    """Nothing is written for a moment, so both standbys have the same; then the primary dies."""
    node = victim(w)
    stop([one.pid for one in w.writers.processes])
    w.hold(1.5)
    node.kill_node()
    w.hold(step.chance.uniform(0.1, 1))
    resume([one.pid for one in w.writers.processes])
    w.hold(w.ttl + 3)
    node.start()


@row("R12", 1, "I2")
def promoted_by_hand(w, step):
    """Somebody promotes a standby by hand."""
    node = pick(w, step, "standby")
    try:
        node.sql("SELECT pg_promote(false)")
    except Failure as failure:
        w.say(str(failure)[-40:].replace("\n", " "))
    w.hold(4)


@row("R12b", 1, "I2")
def restarted_by_hand(w, step):
    """Somebody restarts the primary's server with pg_ctl, past agent and guard."""
    node = victim(w)
    control = os.path.join(newest_bin_dir(), "pg_ctl")
    done = node.run(control, "-D", node.data, "-m", "fast", "-w", "-t", "10", "-l", "/dev/null", "restart", seconds=40)
    w.say(f"pg_ctl ended with {done.returncode}")
    w.hold(w.ttl + step.chance.uniform(1, 4))
    pid = node.postmaster()
    if pid is not None and node.server_guard() is None:
        w.say(f"process {pid} is not baton's")
        check(node.sql("SELECT pg_is_in_recovery()") == "t", f"{node.name} is writable without a guard")
        check(str(pid) in node.run(w.cluster.baton, "list", "-c", node.config).stdout, "`baton list` does not say so")
        node.run(control, "-D", node.data, "-m", "fast", "-w", "stop", seconds=40)


@row("R13", 0, "I1")
def standbys_die_in_turn(w, step):
    """One standby's server and agent die, then the other's; both come back. The store members stay."""
    one, other = w.standbys(step.chance)
    for node in (one, other):
        stop(node.server_pids())
        w.hold(step.chance.uniform(2, 4))
    w.hold(3)
    for node in (other, one):
        resume(node.server_pids())
        w.hold(1)


@row("R14", 1, "I1")
def primary_dies_in_change(w, step):
    """A standby dies, and the primary a moment later, while the rule of confirmation may be changing."""
    node, other = w.primary(), pick(w, step, "standby")
    other.kill_node()
    w.hold(step.chance.uniform(0, 2.5))
    node.kill_server()
    w.hold(w.ttl)
    other.start()
    w.hold(2)


@row("R15", 1, "I1", modes=SYNC)
def waits_cancelled(w, step):
    """Clients' waits for a standby are cancelled, then the primary dies: what was warned about is not counted on."""
    node = victim(w)
    others = w.others_of(node)
    stopped = [pid for one in others for pid in stop(one.server_pids("walreceiver"))]
    end = time.monotonic() + step.chance.uniform(3, 5)
    while time.monotonic() < end:
        try:
            node.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        except Failure as failure:
            w.say(str(failure)[-60:])
        time.sleep(0.2)
    node.kill_node()
    resume(stopped)
    w.hold(w.ttl + 4)
    node.start()
