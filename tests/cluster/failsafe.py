"""Failsafe mode on real servers: the store, on a host of its own, is away; the primary goes on while it has a majority.

The steps build on each other: the store comes back in the last one."""

import json
import os
import subprocess
import time

from cluster import Cluster, now, wait_until
import groups
from groups import check, check_no_loss, new_folder, note
import netns

GROUPS = []
TTL = 5

group = groups.into(GROUPS, "failsafe")


def is_active(node):
    return node.status().get("failsafe_mode_is_active") is True


def post(node, body):
    """Status and text of a POST to /failsafe, and its header lsn."""
    done = subprocess.run(
        node.inside() + ["curl", "-sS", "-i", "-m", "5", "-d", json.dumps(body),
                         f"http://{node.host}:{node.rest}/failsafe"], capture_output=True, text=True, check=True)
    head, _, text = done.stdout.replace("\r", "").partition("\n\n")
    lsn = [line.split()[1] for line in head.split("\n") if line.lower().startswith("lsn:")]
    return int(head.split()[1]), text, lsn


def wait_named(cluster):
    """The key failsafe has all members, and the record of the lease does too: it follows with a renewal."""
    names = sorted(one.name for one in cluster.nodes)
    def is_named():
        code, body = cluster.primary().get("/failsafe")
        return code == 200 and sorted(json.loads(body)) == names
    wait_until("the key failsafe names all members", is_named, 20, 0.2)
    time.sleep(TTL)


def last_ack(cluster):
    return max(cluster.writer.acks())


def goes_on(cluster, seconds):
    """The old primary acknowledges writes all that time."""
    begin = now()
    time.sleep(seconds)
    times = [one for one in cluster.writer.acks() if one >= begin]
    check(times, "no write was acknowledged")
    gaps = [later - earlier for earlier, later in zip([begin] + times, times + [begin + seconds])]
    check(max(gaps) < TTL / 2, f"writes paused for {max(gaps):.2f} s")
    check(cluster.old.is_primary(), f"{cluster.old.name} is not the primary any more")


def bootstrap(cluster):
    cluster.start()
    cluster.wait_healthy(90)
    wait_named(cluster)
    cluster.old = cluster.primary()
    check(not any(is_active(one) for one in cluster.nodes), "failsafe mode is active while the store answers")
    stranger = {"name": cluster.old.name, "conn_url": "", "api_url": "", "node": "0" * 32, "term": 1, "seq": 1 << 40}
    code, text, _ = post(cluster.standbys()[0], stranger)
    check(code == 500, f"a stranger is promised something: {code} {text}")
    code, text, _ = post(cluster.old, stranger)
    check((code, text) == (500, "Running as a leader"), f"{code} {text}")
    cluster.writer = netns.LocalWriter(cluster, cluster.old)
    cluster.load_log = cluster.writer.log
    wait_until("the writer writes", lambda: len(cluster.writer.acks()) > 10, 15)


def store_away(cluster):
    """For three times the ttl and more nobody has a store, and nobody notices."""
    cluster.store.stop()
    goes_on(cluster, 3 * TTL + 1)
    check(all(is_active(one) for one in cluster.nodes), "failsafe_mode_is_active is not shown")
    said = subprocess.run(cluster.old.inside() + [cluster.baton, "list", "-c", cluster.old.config],
                          capture_output=True, text=True, check=False)
    check("Failsafe mode" in said.stdout, f"`baton list` does not say it: {said.stdout}{said.stderr}")


def agent_restarted(cluster):
    """A standby's agent that knows nothing of the lease promises nothing; the other one is enough."""
    standby = next(one for one in cluster.nodes if one is not cluster.old)
    standby.kill_agent()
    standby.start()
    goes_on(cluster, 2 * TTL)
    cluster.restarted = standby


def one_peer_cut(cluster):
    """Cut off from the one that promises nothing anyway: nothing changes."""
    cluster.network.cut(cluster.old.namespace, cluster.restarted.host)
    goes_on(cluster, 2 * TTL)


def both_peers_cut(cluster):
    """Without a majority it is silent before its hold ends."""
    others = [one for one in cluster.nodes if one is not cluster.old]
    cut = now()
    cluster.network.cut(cluster.old.namespace, *[one.host for one in others])
    wait_until("the primary is stopped", lambda: not cluster.old.is_primary(), 2 * TTL, 0.1)
    time.sleep(TTL)
    went_on = last_ack(cluster) - cut
    note(f"writes went on for {went_on:.2f} s after the cut, the ttl is {TTL} s")
    check(went_on < TTL, "the primary wrote for longer than its lease")
    check(not any(one.is_primary() for one in cluster.nodes), "there is a primary without a store")


def store_back(cluster):
    cluster.network.heal()
    wait_until("the old primary is a standby", lambda: cluster.old.status().get("state") == "running", 30, 0.2)
    cluster.store = netns.LocalEtcd(cluster.network.hosts[3], cluster.folder)
    cluster.wait_healthy(90)
    cluster.writer.stop()
    check_no_loss(cluster)
    wait_until("failsafe mode is over", lambda: not any(is_active(one) for one in cluster.nodes), 20, 0.2)


@group(bootstrap, store_away, agent_restarted, one_peer_cut, both_peers_cut, store_back, seconds=71)
def failsafe():
    reason = netns.cannot()
    if reason:
        return reason
    hosts = netns.Network(4)
    folder = new_folder()
    cluster = Cluster(os.path.join(folder, "cluster"), ttl=TTL, loop_wait=1, namespaces=hosts.hosts[:3],
                      etcd=[hosts.hosts[3].host], settings="    failsafe_mode: true")
    cluster.network = hosts
    cluster.store = netns.LocalEtcd(hosts.hosts[3], cluster.folder)
    return cluster
