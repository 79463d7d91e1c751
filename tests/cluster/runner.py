"""Groups of cluster tests side by side. They mostly wait, so three clusters fit on two cores.

A group is a process of its own, in namespaces of its own (`unshare`): network, so that its loopback, ports and names of
interfaces are nobody else's; mounts; and processes, so that nothing it started outlives it. Where there are no namespaces
(not root, or a container that forbids them) the groups run one at a time, without.

    run  --- unshare --- first process: collects orphans, ends the group when its stdin does --- the group

`run` holds the other end of that stdin. It passes on what groups print line by line, and sees that each test that was
wanted has a result: a group that crashes, hangs or prints nothing has failed in all its tests that had none.
"""

import os
import pwd
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from cluster import USER, Failure, Skip, now

LIMIT = 900  # seconds for a group: several times what the longest one takes
GRACE = 60   # seconds in which a group that was told to end stops its cluster and shows its logs
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
RESULT = re.compile(r"(ok|FAIL|skip) (cluster/\S+)")


def cannot_isolate():
    """Why a group cannot have namespaces here, or ""."""
    if os.getuid() != 0:
        return "needs root"
    try:
        done = subprocess.run(UNSHARE + ["ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip().replace("\n", " ") or f"exit status {done.returncode}"


# --- one group, in its process -----------------------------------------------------------------------------------------

def furnish():
    """The namespaces are bare: loopback is down, and names of network namespaces would be files that all groups see."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "baton-test", "/run/netns"], check=True)


def be_first(is_isolated, run):
    """Fork a process for run() and look after it: its exit status."""
    if is_isolated:
        furnish()
    sys.stdout.flush()
    group = os.fork()
    if group == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os._exit(run_guarded(run))

    def end_with_stdin():
        os.read(0, 1)
        os.kill(group, signal.SIGTERM)
        time.sleep(GRACE)
        os.kill(group, signal.SIGKILL)

    threading.Thread(target=end_with_stdin, daemon=True).start()
    while True:
        pid, status = os.wait()
        if pid == group:
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            print(f"# processor: {usage.ru_utime + usage.ru_stime:.0f} s", flush=True)
            return os.waitstatus_to_exitcode(status) & 0xff


def run_guarded(run):
    def leave(_number, _frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(143)
    signal.signal(signal.SIGTERM, leave)
    try:
        code = run()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        code = 1
    sys.stdout.flush()
    return code


def show_logs(cluster):
    for node in cluster.nodes:
        files = [(node.log, 25)] + [(os.path.join(node.data + ".baton", name), 6) for name in ("postgres.log", "guard.log")]
        for path, lines in files:
            if os.path.exists(path):
                print(f"--- {node.name} {os.path.basename(path)}", flush=True)
                subprocess.run(["tail", "-n", str(lines), path], check=False)


def run_test(made, test, name):
    """Whether it went well. A test that is interrupted, because the group takes too long, says so and shows its logs."""
    start = now()
    try:
        test(made)
        print(f"ok {name} {now() - start:.1f} s", flush=True)
    except Skip as reason:
        print(f"skip {name} {reason}", flush=True)
    except BaseException as failure:
        what = "interrupted" if isinstance(failure, SystemExit) else str(failure) or type(failure).__name__
        print(f"FAIL {name} {now() - start:.1f} s: {what}", flush=True)
        if not isinstance(failure, (Failure, subprocess.CalledProcessError)):
            traceback.print_exc(file=sys.stdout)
        show_logs(made)
        if not isinstance(failure, Exception):
            raise
        return False
    return True


def run_group(group, names):
    """Run the tests of a group that have these names; how many failed."""
    failed = 0
    made = group.make()
    if isinstance(made, str):
        for name in names:
            print(f"skip {name} {made}", flush=True)
        return 0
    try:
        for test in group.tests:
            if group.name_of(test) not in names or run_test(made, test, group.name_of(test)):
                continue
            failed += 1
            if test is group.tests[0]:
                for rest in names[1:]:
                    print(f"FAIL {rest} the cluster never came up", flush=True)
                break
            try:
                made.wait_healthy(60)
            except Failure:
                print("the cluster did not recover from that", flush=True)
    finally:
        made.stop()
        for extra in ("store", "network"):
            if hasattr(made, extra):
                getattr(made, extra).stop()
    return failed


# --- all groups --------------------------------------------------------------------------------------------------------

class Running:
    """A group that runs, and what has come of it."""

    def __init__(self, group, names, limit):
        self.group, self.names, self.limit = group, names, limit
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        self.begin = now()
        self.results, self.processor = {}, ""
        self.process = None

    def start(self, is_isolated):
        os.chmod(self.folder, 0o755)
        if os.getuid() == 0:
            entry = pwd.getpwnam(USER)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        command = [sys.executable, sys.argv[0], "--group", self.group.id, "isolated" if is_isolated else "beside"]
        self.process = subprocess.Popen(
            (UNSHARE if is_isolated else []) + command + self.names, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            env=dict(os.environ, BATON_TEST_FOLDER=self.folder))

    def read(self, tell):
        """Pass on lines until there are no more: results and notes as they are, what belongs to a failure set in."""
        for line in self.process.stdout:
            line = line.rstrip("\n")
            result = RESULT.match(line)
            if result and result[2] in self.names and result[2] not in self.results:
                self.results[result[2]] = result[1]
                tell(line)
            elif line.startswith("# processor: "):
                self.processor = ", " + line[2:]
            else:
                tell(line if line.startswith("# ") else f"  | {self.group.id} | {line}")

    def stop(self):
        """Its first process sees that, ends the group and then itself."""
        try:
            self.process.stdin.close()
        except OSError:
            pass

    def finish(self, tell):
        """Wait for the end, and make failures of what is missing. How many failed."""
        reader = threading.Thread(target=self.read, args=(tell,), daemon=True)
        reader.start()
        why = "has no result"
        try:
            self.process.wait(self.limit)
        except subprocess.TimeoutExpired:
            why = f"has no result: its group took longer than {self.limit} s"
            self.stop()
            try:
                self.process.wait(GRACE + 15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        reader.join(5)  # without namespaces something may hold the pipe that the group left behind
        self.stop()
        for name in self.names:
            if name not in self.results:
                self.results[name] = "FAIL"
                tell(f"FAIL {name} {why}")
        failed = list(self.results.values()).count("FAIL")
        if self.process.returncode != 0 and not failed:
            failed = 1
            tell(f"FAIL cluster/{self.group.id} ended with exit status {self.process.returncode}")
        tell(f"# {self.group.id}: {now() - self.begin:.0f} s{self.processor}")
        if failed:
            tell(f"# {self.group.id}: its logs are in {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return failed


class Runner:
    def __init__(self, jobs, limit):
        self.jobs, self.limit = jobs, limit
        reason = cannot_isolate()
        self.is_isolated = not reason
        if reason and jobs > 1:
            print(f"# one group at a time: {reason}", flush=True)
            self.jobs = 1
        self.lock = threading.Lock()
        self.running = []
        self.is_stopping = False
        self.failed = 0

    def tell(self, line):
        with self.lock:
            print(line, flush=True)

    def stop(self):
        self.is_stopping = True
        for one in list(self.running):
            one.stop()

    def work(self, todo):
        """Run what is in the queue until it is empty."""
        while True:
            try:
                group, names = todo.get_nowait()
            except queue.Empty:
                return
            if self.is_stopping:
                for name in names:
                    self.tell(f"FAIL {name} not run")
                continue
            one = Running(group, names, self.limit)
            one.start(self.is_isolated)
            self.running.append(one)
            if self.is_stopping:
                one.stop()
            failed = one.finish(self.tell)
            self.running.remove(one)
            with self.lock:
                self.failed += failed

    def run(self, wanted, jobs):
        todo = queue.SimpleQueue()
        for group, names in sorted(wanted, key=lambda one: -one[0].seconds):
            todo.put((group, names))
        workers = [threading.Thread(target=self.work, args=(todo,)) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def wanted_names(group, words):
    """Names of the tests that the words ask for; with any of them the first one, which brings the cluster up."""
    def asked_for(test):
        texts = group.name_of(test), f"{group.id}/{test.__name__}"
        has = {word: any(word.removeprefix("-") in text for text in texts) for word in words}
        wishes = [has[word] for word in words if not word.startswith("-")]
        return (any(wishes) or not wishes) and not any(has[word] for word in words if word.startswith("-"))
    found = [test for test in group.tests if asked_for(test)]
    return [group.name_of(test) for test in group.tests if found and (test is group.tests[0] or test in found)]


def run_all(rows, words, jobs, limit):
    """The exit status."""
    wanted = [(group, wanted_names(group, words)) for group in rows]
    wanted = [row for row in wanted if row[1]]
    runner = Runner(jobs, limit)
    def interrupted(_number, _frame):
        threading.Thread(target=runner.stop).start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    runner.run([row for row in wanted if not row[0].is_alone], runner.jobs)
    runner.run([row for row in wanted if row[0].is_alone], 1)
    return 1 if runner.failed or runner.is_stopping else 0


def run_one(rows, group_id, how, names):
    """What a process for one group does; the exit status."""
    group = next(one for one in rows if one.id == group_id)
    return be_first(how == "isolated", lambda: 1 if run_group(group, names) else 0)
