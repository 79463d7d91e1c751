"""What the files of cluster tests have in common. A group is a function that makes a cluster, and the tests that use it in
turn; `run` runs groups side by side (runner.py).

    GROUPS = []
    group = groups.into(GROUPS, "faults")

    @group(this_test, that_test, seconds=40)
    def three_nodes():
        return Cluster(new_folder())       # or a sentence: why it cannot be made here
"""

import os
import pwd
import tempfile

from cluster import USER, Failure


class Group:
    """`seconds` is about what it takes on an idle machine: long groups begin first. A group that `is_alone` runs beside no
    other one, because it measures what others would disturb."""

    def __init__(self, label, make, tests, seconds, is_alone):
        self.label, self.make, self.tests, self.seconds, self.is_alone = label, make, tests, seconds, is_alone
        self.id = label if label == make.__name__ else f"{label}/{make.__name__}"

    def name_of(self, test):
        return f"cluster/{self.label}/{test.__name__}"


def into(rows, label=None):
    """A decorator that adds a Group to ROWS; without LABEL, with which its lines begin, the maker's name is the label."""
    def group(*tests, seconds=20, alone=False):
        def add(make):
            rows.append(Group(label or make.__name__, make, tests, seconds, alone))
            return make
        return add
    return group


def new_folder():
    """A folder of this group's; the runner removes it when all went well."""
    folder = tempfile.mkdtemp(prefix="t", dir=os.environ.get("BATON_TEST_FOLDER"))
    os.chmod(folder, 0o755)
    if os.getuid() == 0:
        entry = pwd.getpwnam(USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
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
