"""scripts/demo: the main job on real servers, shown as a short story, with figures that were measured while it ran."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

from cluster import Cluster, Failure, as_user, now
import subprocess

COLOUR = sys.stdout.isatty()


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


class Story:
    def __init__(self):
        self.begin = now()
        self.figures = []

    def tell(self, text):
        print(f"{now() - self.begin:7.2f} s  {text}", flush=True)

    def title(self, text):
        print("\n" + paint("1", text), flush=True)

    def figure(self, what, cluster, begin):
        """The pause since `begin`, and the rows lost since the last figure."""
        pause = cluster.longest_gap(begin)
        lost = len(cluster.lost_rows()) - sum(one[2] for one in self.figures)
        self.figures.append((what, pause, lost))
        self.tell(paint("32" if lost == 0 else "31",
                        f"writes paused for {pause * 1000:.0f} ms, {lost} acknowledged rows lost"))


def decisions(node, since):
    """The decisions that a node has logged since then, as (real time, rule, sentence)."""
    rows = []
    with open(node.log, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split(" ", 2)
            if len(words) == 3 and words[0] >= since and " rule=" in line:
                rule = line.split(" rule=", 1)[1].split(" ", 1)[0]
                rows.append((words[0], rule, line.rstrip().split('"')[-2]))
    return rows


SHOWN = ("lease.taken", "lease.released", "promote.run", "race.acquire", "race.successor", "switchover.stop",
         "switchover.checkpoint", "start.again", "start.standby", "rewind.run", "clone.run", "server.state",
         "standby.follow", "lease.other")


def show_decisions(story, cluster, since, limit=14):
    rows = []
    for node in cluster.nodes:
        rows += [(at, node.name, rule, text) for at, rule, text in decisions(node, since) if rule in SHOWN]
    for at, name, rule, text in sorted(rows)[:limit]:
        print(f"           {at[11:23]}  {name}  {rule:22} {text}")


def utc():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() * 1000) % 1000:03d}Z"


def run(cluster, story):
    story.title("Three agents, each with its own member of the store; nobody is told who leads")
    cluster.start()
    primary = cluster.wait_primary(45)
    story.tell(f"{primary.name} has made the cluster and is the primary")
    cluster.wait_streaming(2)
    story.tell("two standbys stream from it")
    cluster.start_load()
    story.tell("a workload writes rows, one transaction each, and remembers every acknowledgement")
    time.sleep(2)

    story.title(f"Failover: the whole node {primary.name} dies (agent, guard, server, store: SIGKILL)")
    since, begin = utc(), now()
    primary.kill_node()
    successor = cluster.wait_primary(cluster.ttl + 15, but=primary)
    cluster.wait_acks()
    show_decisions(story, cluster, since)
    story.figure(f"node killed (ttl {cluster.ttl} s)", cluster, begin)
    story.tell(f"{successor.name} is the primary")

    story.title(f"Re-join: {primary.name} comes back")
    since = utc()
    primary.start()
    cluster.wait_healthy(60)
    show_decisions(story, cluster, since, 8)
    story.tell(f"{primary.name} streams from {successor.name} on timeline {successor.status().get('timeline')}")

    story.title("Switchover: the operator moves the primary, under load")
    since, begin = utc(), now()
    target = primary
    subprocess.run(
        [cluster.baton, "switchover", "-c", successor.config, "--leader", successor.name, "--candidate", target.name,
         "--force"], check=True, stdout=subprocess.DEVNULL)
    cluster.wait_primary(15, but=successor)
    cluster.wait_acks()
    show_decisions(story, cluster, since)
    story.figure("switchover", cluster, begin)
    if not target.is_primary():
        raise Failure(f"{target.name} was asked for, but is not the primary")
    cluster.wait_healthy(60)
    story.tell(f"{successor.name} follows {target.name} without a rewind")

    cluster.stop_load()
    lost = cluster.lost_rows()
    story.title("What was measured")
    print(f"           acknowledged rows: {len(cluster.outcomes('ok'))}, lost: {len(lost)}")
    for what, pause, rows in story.figures:
        print(f"           {what:26} {pause * 1000:6.0f} ms without writes, {rows} rows lost")
    if len(lost) > 0:
        print("           (replication is asynchronous: what a dying node has acknowledged and not yet sent is lost)")
    story.title("baton list")
    sys.stdout.flush()
    subprocess.run([cluster.baton, "list", "-c", target.config], check=True)
    if story.figures[-1][2]:
        raise Failure("the switchover lost rows")
    return target


def say_how_to_explore(cluster, node):
    prefix = " ".join(as_user())
    print(f"""
The cluster goes on running in {cluster.folder}
  {cluster.baton} list -c {node.config}
  {cluster.baton} switchover -c {node.config}
  psql "{node.conninfo()}"
  tail -f {cluster.folder}/n*/baton.log
  curl http://{node.host}:{node.rest}/cluster
Stop it:
  kill {' '.join(str(one.agent.pid) for one in cluster.nodes)}        # stops the servers too
  rm -r {cluster.folder}
{'(the processes run as: ' + prefix + ')' if prefix else ''}""")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running and say how to use and stop it")
    parser.add_argument("--ttl", type=int, default=5, help="length of the lease in seconds (default 5)")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="baton-demo-")
    os.chmod(folder, 0o755)
    cluster = Cluster(folder, count=3, ttl=options.ttl, loop_wait=1)
    story = Story()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    is_good = False
    try:
        target = run(cluster, story)
        is_good = True
        if options.keep:
            say_how_to_explore(cluster, target)
        else:
            print("\nTo explore: scripts/demo --keep leaves the cluster running and says how to use it.")
    except (Failure, subprocess.CalledProcessError) as failure:
        print(paint("31", f"\nIt did not happen: {failure}"))
        for node in cluster.nodes:
            print(f"--- the end of {node.log}")
            sys.stdout.flush()
            subprocess.run(["tail", "-n", "15", node.log], check=False)
    finally:
        if not (is_good and options.keep):
            cluster.stop()
            if is_good:
                shutil.rmtree(folder)
            else:
                print(f"The logs are in {folder}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
