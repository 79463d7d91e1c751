"""What is there at the end: read from every server, on the primary in a transaction that writes."""

import os
import subprocess

from cluster import PSQL, Failure, wait_until

ROWS = "COPY (SELECT id FROM chaos_rows ORDER BY 1) TO STDOUT"
LISTS = "COPY (SELECT k, array_to_string(v, ',') FROM chaos_lists) TO STDOUT"


def psql(node, *queries):
    """The lines of a session that ends at the first error; Failure when it has one, or a warning."""
    words = node.inside() + [PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", node.conninfo()]
    for query in queries:
        words += ["-c", query]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ["PATH"], "LANG": "C"})
    if done.returncode != 0 or "WARNING" in done.stderr:
        raise Failure(f"{node.name}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def writing(primary, query):
    """A read that counts: the server had to be able to commit a row around it."""
    return psql(primary, "BEGIN", "INSERT INTO chaos_final DEFAULT VALUES", query, "COMMIT")


def read_standby(node, position):
    wait_until(f"{node.name} has replayed everything",
               lambda: psql(node, f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == ["t"], 30, 0.2)
    return {int(line) for line in psql(node, ROWS)}


def read(world):
    """(primary's name, node -> set of ids or None, key -> list or None, complaints)."""
    finals, lists, complaints = {one.name: None for one in world.nodes}, None, []
    try:
        primary = world.primary()
        finals[primary.name] = {int(line) for line in writing(primary, ROWS)}
        lists = {}
        for line in writing(primary, LISTS):
            key, _, values = line.partition("\t")
            lists[int(key)] = [int(one) for one in values.split(",")]
        position = psql(primary, "SELECT pg_current_wal_lsn()")[0]
    except (Failure, subprocess.TimeoutExpired) as failure:
        return None, finals, lists, [str(failure)]
    for node in world.others_of(primary):
        try:
            finals[node.name] = read_standby(node, position)
        except (Failure, subprocess.TimeoutExpired) as failure:
            complaints.append(str(failure))
    return primary.name, finals, lists, complaints
