"""W and X: operators and clients, at bad moments or with bad manners."""

import os
import shutil
import struct
import time

from cluster import PSQL, Failure
from fault import check, end_of, pick, row, start_switchover, switchover, victim
import inside

STARTUP = b"user\0postgres\0database\0postgres\0\0"
WAITING = struct.pack(">II", 8 + len(STARTUP), 196608) + STARTUP


@row("W1", 1, "I1 I5", lossless=True)
def switched_over(w, step):
    """An operator moves the primary under load."""
    leader, candidate = w.primary(), w.standbys(step.chance)[0]
    done = switchover(w, leader, candidate)
    check(done.returncode == 0, f"switchover to {candidate.name}: {done.stdout}{done.stderr}")
    w.say(f"{leader.name} to {candidate.name}")
    w.hold(2)
    check(candidate.is_primary(), f"{candidate.name} does not lead")


@row("W2", 1, "I1 I5", lossless=True)
def switched_over_with_long_transactions(w, step):
    """The same with open transactions, locks and a running query."""
    leader, candidate = w.primary(), w.standbys(step.chance)[0]
    for query in ("BEGIN; LOCK TABLE chaos_final; SELECT pg_sleep(600)", "SELECT pg_advisory_lock(7); SELECT pg_sleep(600)",
                  "BEGIN; CREATE TABLE never (a int); SELECT pg_sleep(600)"):
        w.spawn(leader.inside() + [PSQL, "-Xq", "-d", leader.conninfo(), "-c", query])
    w.hold(1)
    done = switchover(w, leader, candidate)
    check(done.returncode == 0, f"switchover to {candidate.name}: {done.stdout}{done.stderr}")
    w.hold(2)


@row("W3", 2, "I5")
def target_dies_in_switchover(w, step):
    """The candidate dies in the middle of a switchover."""
    leader, candidate = w.primary(), w.standbys(step.chance)[0]
    process = start_switchover(w, leader, candidate)
    w.hold(step.chance.uniform(0, 0.6))
    candidate.kill_node()
    w.hold(8)
    end_of(process)
    candidate.start()


@row("W3b", 2, "I5")
def leader_dies_in_switchover(w, step):
    """The old primary dies in the middle of a switchover."""
    leader, candidate = w.primary(), w.standbys(step.chance)[0]
    process = start_switchover(w, leader, candidate)
    w.hold(step.chance.uniform(0, 0.6))
    leader.kill_node()
    w.hold(w.ttl + 4)
    end_of(process)
    leader.start()


@row("W4", 0, "I7")
def connections_exhausted(w, _step):
    """All connections of the primary are taken by clients that have not even said who they are."""
    node = victim(w)
    sockets = []
    try:
        for _ in range(130):
            one = inside.connect(node.namespace, node.host, node.pg, 2)
            sockets.append(one)
            one.sendall(WAITING)
        time.sleep(1)
        try:
            node.sql("SELECT 1")
            w.say("a superuser still gets in")
        except Failure:
            w.say("nobody gets in")
        w.hold(8)
    except OSError as error:
        w.say(f"{len(sockets)} connections, then {error}")
        w.hold(8)
    finally:
        for one in sockets:
            one.close()


@row("W5", 2, "I6")
def parameter_changed_in_failover(w, step):
    """A parameter that needs a restart changes, and the primary's server dies."""
    before = w.change_dynamic(lambda value: value["postgresql"]["parameters"].update(
        max_connections=step.chance.choice([90, 150])))
    w.hold(step.chance.uniform(0, 3))
    victim(w).kill_server()
    w.hold(5)
    w.cluster.wait_healthy(90)
    w.put_dynamic(before)
    w.hold(2)


@row("W8", 0, "I8 I4", needs=["own"])
def host_replaced(w, step):
    """A standby comes back under its name with nothing but its configuration."""
    node = pick(w, step, "standby")
    node.kill_node()
    places = [os.path.join(node.folder, one) for one in ("disk", "run", "kv")] if w.has_disks else [node.folder]
    for place in places:
        for name in os.listdir(place):
            path = os.path.join(place, name)
            if os.path.isdir(path) and not os.path.ismount(path):
                shutil.rmtree(path)
    node.start()
    w.cluster.wait_healthy(90)


@row("W9", 1, "I7")
def dies_in_maintenance(w, step):
    """Maintenance is on and the primary's node dies: nobody takes over until it is off."""
    before = w.change_dynamic(lambda value: value.update(pause=True))
    w.hold(3)
    node = victim(w)
    line = w.timeline()
    node.kill_server()
    for _ in range(w.ttl + 3):
        w.hold(1)
        check(not any(one.is_primary() for one in w.others_of(node)), "another node leads in maintenance")
    w.say("timeline stays" if w.timeline() == line else "restarted in place")
    w.put_dynamic(before)
    w.hold(step.chance.uniform(1, 3))


@row("W10", 2, "I8")
def two_operators(w, step):
    """Two operators ask for different primaries at once."""
    leader = w.primary()
    one, other = w.standbys(step.chance)
    processes = [start_switchover(w, leader, one)]
    w.hold(step.chance.uniform(0, 0.2))
    processes.append(start_switchover(w, leader, other))
    w.hold(8)
    for process in processes:
        end_of(process)


@row("W11", 1, "I1 I5")
def planned_stop(w, step):
    """The primary's agent is told to stop, as for an update of its host, and started again."""
    node = victim(w)
    node.stop()
    w.hold(w.ttl + step.chance.uniform(1, 4))
    node.kill_node()
    node.start()


@row("X1", 0, "I10")
def idle_callers(w, step):
    """Hundreds of callers open a request at the agents' REST ports and never end it."""
    sockets = []
    try:
        for node in w.nodes:
            for _ in range(150):
                try:
                    one = inside.connect(node.namespace, node.host, node.rest, 1)
                    one.sendall(b"GET /patroni HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * step.chance.randint(0, 4000))
                    sockets.append(one)
                except OSError:
                    break
        w.say(f"{len(sockets)} callers")
        w.hold(w.ttl + 4)
    finally:
        for one in sockets:
            one.close()


@row("X2", 0, "I10")
def noise(w, step):
    """Random bytes at the ports of agents, servers and store members."""
    for _ in range(60):
        node = step.chance.choice(w.nodes)
        try:
            one = inside.connect(node.namespace, node.host, step.chance.choice([8008, 5432, 2379, 2380]), 1)
            one.sendall(step.chance.choice([b"", b"POST /switchover HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
                                            b"GET / HTTP/1.1\r\n"]) + step.chance.randbytes(3000))
            one.close()
        except OSError:
            pass
        w.hold(0.05)
