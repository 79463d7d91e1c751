"""P: processes die, stop, starve. Each function is a row; its code is that of the catalogue in docs/chaos.md."""

import os
import re
import resource
import signal
import subprocess

from cluster import PSQL, as_user, send_signal
from fault import check, log_end, log_since, pick, resume, row, stop, victim, watch


@row("P1", 1, "I1 I5 I7")
def primary_killed(w, step):
    """The database server of the primary dies, its agent lives."""
    victim(w).kill_server()
    w.hold(step.chance.uniform(2, 6))


@row("P2", 1, "I1 I2")
def postmaster_killed(w, step):
    """Only the postmaster dies, while a backend is busy."""
    node = victim(w)
    w.spawn(node.inside() + [PSQL, "-Xq", "-d", node.conninfo(), "-c",
                             "DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$"])
    w.hold(0.5)
    send_signal(node.postmaster(), signal.SIGKILL)
    w.hold(step.chance.uniform(2, 6))


@row("P3", 1, "I1 I7")
def backend_killed(w, step):
    """One backend is killed as by a lack of memory: the server restarts itself, or is restarted."""
    node = victim(w)
    backends = [pid for pid in node.server_pids("postgres: ") if pid in node.server_pids("INSERT") +
                node.server_pids("idle")]
    check(backends, "there is no backend")
    send_signal(step.chance.choice(backends), signal.SIGKILL)
    w.hold(4)


@row("P4", 1, "I2 I5")
def agent_killed(w, step):
    """The primary's agent dies and does not come back: the guard ends the server in time."""
    node = victim(w)
    node.kill_agent()
    w.hold(w.ttl + step.chance.uniform(2, 5))
    check(node.postmaster() is None, f"the server of {node.name} lives without an agent")


@row("P4b", 0, "I2 I7")
def agent_restarted(w, step):
    """An agent dies and is started again within a second: nobody notices."""
    node = pick(w, step, "primary", "standby")
    node.kill_agent()
    w.hold(step.chance.uniform(0, 0.8))
    node.start()
    w.hold(w.ttl)


@row("P5", 1, "I2")
def agent_and_guard_killed(w, _step):
    """Agent and guard die together: nothing of the server goes on."""
    node = victim(w)
    guard, pids = node.server_guard(), node.server_pids()
    check(guard is not None, "the guard is not found")
    send_signal(node.agent.pid, signal.SIGKILL)
    send_signal(guard, signal.SIGKILL)
    node.reap()
    gone = watch(5, lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    check(gone, "processes of the server outlive their guard")
    w.hold(w.ttl + 2)


@row("P6", 1, "I2 I1")
def agent_stopped(w, step):
    """The primary's agent stands still for longer than the lease, then goes on."""
    node = victim(w)
    stop([node.agent.pid])
    w.hold(w.ttl + step.chance.uniform(2, 6))
    resume([node.agent.pid])
    w.hold(2)


GOES_FOR_LEASE = re.compile(r"rule=(race\.acquire|revoke\.take) ")  # without the lease's end or with it


def stop_candidate(w, seconds):
    """Kill the primary's node, and stop the agent that goes for the lease right then."""
    node = victim(w)
    others = w.others_of(node)
    positions = {one.name: log_end(one) for one in others}
    node.kill_node()
    racing = watch(3 * w.ttl, lambda: next(
        (one for one in others if GOES_FOR_LEASE.search(log_since(one, positions[one.name]))), None), 0.002)
    check(racing is not None, "nobody went for the lease")
    stop([racing.agent.pid])
    w.say(f"{racing.name} stopped in its race for {seconds:.1f} s")
    w.hold(seconds)
    resume([racing.agent.pid])
    w.hold(2)
    node.start()


@row("P7", 2, "I2 I8")
def candidate_stopped_shortly(w, step):
    """The agent that takes the lease stands still between taking it and promoting, for less than the lease."""
    stop_candidate(w, step.chance.uniform(0.5, w.ttl - 1))


@row("R11", 2, "I8")
def candidate_stopped_long(w, step):
    """The same for longer than the lease: another one may have it when the first goes on."""
    stop_candidate(w, w.ttl + step.chance.uniform(2, 5))


@row("P8", 1, "I2")
def agent_stutters(w, step):
    """The primary's agent runs for a moment, then stands still for most of the lease, again and again."""
    node = victim(w)
    for _ in range(4):
        stop([node.agent.pid])
        w.hold(step.chance.uniform(0.4, 0.8) * w.ttl)
        resume([node.agent.pid])
        w.hold(step.chance.uniform(0.02, 0.3))


@row("P9", 1, "I1 I2")
def node_frozen(w, step):
    """The whole primary stands still for longer than the lease and thaws, the guards last."""
    node = victim(w)
    pids = node.signal_node(signal.SIGSTOP)
    w.hold(w.ttl + step.chance.uniform(2, 6))
    guards = set(node.guards())
    resume(sorted(pids, key=lambda one: one in guards))
    w.hold(2)


@row("P9b", 0, "I1 I7")
def standby_frozen(w, step):
    """A standby with its store member stands still and thaws."""
    node = pick(w, step, "standby")
    pids = node.signal_node(signal.SIGSTOP)
    w.hold(step.chance.uniform(3, 9))
    resume(pids)


@row("P11", 1, "I5 I7")
def server_hangs(w, step):
    """All processes of the database stand still; its port still takes connections, its agent lives."""
    node = victim(w)
    pids = stop(node.server_pids())
    w.hold(step.chance.uniform(10, 16))
    resume(pids)


@row("P12", 1, "I5 I10")
def helper_stopped(w, step):
    """One of the server's own processes stands still: checkpointer, walwriter, background writer."""
    word = step.chance.choice(["checkpointer", "walwriter", "background writer"])
    node = pick(w, step, "primary")
    pids = stop(node.server_pids(word))
    check(pids, f"there is no {word}")
    w.say(word)
    w.hold(8)
    resume(pids)


@row("P13", 0, "I7")
def all_agents_restarted(w, _step):
    """All agents die at once and are started again."""
    for node in w.nodes:
        node.kill_agent()
    for node in w.nodes:
        node.start()
    w.hold(w.ttl + 1)


@row("P14", 1, "I1 I6")
def power_cut_everywhere(w, step):
    """All nodes lose power at once; with small disks, what was not flushed is gone."""
    for node in w.nodes:
        if w.has_disks:
            node.disk_dies()
    for node in w.nodes:
        node.kill_node()
    for node in w.nodes:
        if w.has_disks:
            node.disk_returns()
    w.hold(step.chance.uniform(0.5, 2))
    nodes = list(w.nodes)
    step.chance.shuffle(nodes)
    for node in nodes:
        node.start()


@row("P15", 1, "I3")
def worst_start_order(w, step):
    """All are down, and the one that has been down for longest comes alone."""
    stale = pick(w, step, "standby")
    stale.kill_node()
    w.hold(4)
    others = w.others_of(stale)
    for node in others:
        node.kill_node()
    stale.start()
    for _ in range(int(w.ttl * 1.6)):
        w.hold(1)
        if w.mode != "async" or w.store_kind == "own":
            check(not stale.is_primary(), f"{stale.name} opened with old data")
    for node in others:
        node.start()


@row("P16", 1, "I7 I10")
def agent_crash_loop(w, step):
    """An agent dies a second after each start, for a while."""
    node = pick(w, step, "primary", "standby")
    for _ in range(6):
        node.kill_agent()
        node.start()
        w.hold(1)


def starve(w, node, name, count, before):
    """The agent of a node may have no more than so much of something (prlimit's name) for a while."""
    limit = as_user() + ["prlimit", "--pid", str(node.agent.pid)]
    subprocess.run(limit + [f"--{name}={count}:"], check=True)
    w.hold(8)
    if node.is_running():
        subprocess.run(limit + [f"--{name}={before}:"], check=True)
    else:
        w.say("the agent has ended")


@row("P18", 1, "I2 I10")
def descriptors_exhausted(w, step):
    """The agent may open no further file or socket for a while."""
    node = pick(w, step, "primary", "standby")
    starve(w, node, "nofile", len(os.listdir(f"/proc/{node.agent.pid}/fd")),
           resource.getrlimit(resource.RLIMIT_NOFILE)[0])


@row("P19", 1, "I2")
def guard_stopped(w, step):
    """The guard alone stands still; the agent is there and renews."""
    node = pick(w, step, "primary", "standby")
    guard = node.server_guard()
    check(guard is not None, "the guard is not found")
    stop([guard])
    w.hold(w.ttl + 3)
    resume([guard])


@row("P19b", 1, "I2", is_beyond=True)
def nobody_fences(w, _step):
    """The guard stands still and the agent is dead: nothing on the host ends the server when the lease does."""
    node = victim(w)
    guard = node.server_guard()
    stop([guard])
    node.kill_agent()
    w.hold(2 * w.ttl)
    resume([guard])


@row("P20", 1, "I5 I7")
def long_recovery(w, _step):
    """The server dies after a big load: recovering takes longer than usual."""
    node = victim(w)
    node.sql("CREATE TABLE heavy AS SELECT generate_series(1, 600000) AS a", 60)
    node.kill_server()
    w.hold(6)
    w.primary().sql("DROP TABLE IF EXISTS heavy")


@row("P21", 1, "I5 I7")
def node_killed(w, step):
    """The whole primary dies (agent, guard, server, store member), and comes back."""
    node = victim(w)
    node.kill_node()
    w.hold(w.ttl + step.chance.uniform(1, 5))
    node.start()


@row("P22", 0, "I6 I7")
def standby_node_killed(w, step):
    """A whole standby dies and comes back."""
    node = pick(w, step, "standby")
    node.kill_node()
    w.hold(step.chance.uniform(1, 6))
    node.start()


@row("C4", 2, "I7")
def other_uptime(w, step):
    """A node comes back with clocks that run from another start (a time namespace), and goes down once more, then perhaps as
    the primary again."""
    node = pick(w, step, "primary", "standby")
    node.kill_node()
    node.start_with("unshare", "--time", "--boottime", str(step.chance.randint(1000, 10 ** 6)), "--monotonic",
                    str(step.chance.randint(1000, 10 ** 6)))
    w.hold(w.ttl + 3)
    node.kill_node()
    node.start()


@row("X5", 0, "I2")
def log_blocked(w, step):
    """Nobody reads the pipe that the primary's agent logs to, and it is full."""
    node = victim(w)
    pipe = os.path.join(w.folder, f"pipe-{step.key.replace('/', '-')}")
    os.mkfifo(pipe)
    fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except BlockingIOError:
        pass
    try:
        node.kill_agent()
        node.start_with(log=pipe)
        w.hold(2 * w.ttl)
    finally:
        os.close(fd)
    node.kill_agent()
    node.start()


@row("P23", 1, "I2 I5")
def agent_memory_gone(w, step):
    """The agent may take no further memory for a while; whether it lives or not, one server writes."""
    node = pick(w, step, "primary", "standby")
    with open(f"/proc/{node.agent.pid}/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * 4096
    starve(w, node, "as", size, "unlimited")
