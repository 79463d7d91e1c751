"""What the files of cluster tests have in common. A group is a function that makes a cluster, and the tests that use it in
turn; `run` runs them.

    GROUPS = []
    group = groups.into(GROUPS, "faults")

    @group(this_test, that_test)
    def three_nodes():
        return Cluster(new_folder())       # or a sentence: why it cannot be made here
"""

import os
import pwd
import tempfile

from cluster import USER, Failure

FOLDERS = []  # made by new_folder; the runner removes them when all went well


def into(rows, label=None):
    """A decorator that adds (label of the lines, maker, tests) to ROWS; without LABEL the maker's name is the label."""
    def group(*tests):
        def add(make):
            rows.append((label or make.__name__, make, tests))
            return make
        return add
    return group


def new_folder():
    folder = tempfile.mkdtemp(prefix="baton-test-")
    os.chmod(folder, 0o755)
    if os.getuid() == 0:
        entry = pwd.getpwnam(USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    FOLDERS.append(folder)
    return folder


def note(text):
    """A figure or a fact worth seeing; it is not counted."""
    print(f"# {text}", flush=True)


def check(condition, what):
    if not condition:
        raise Failure(what)


def check_no_loss(cluster):
    lost = cluster.lost_rows()
    check(not lost, f"{len(lost)} acknowledged rows are lost, the first is {lost[:1]}")
