"""scripts/chaos: faults by a seed, on real servers under load, and the verdict of the checkers."""

import argparse
import json
import os
import pwd
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "cluster")]
from cluster import USER, Failure
import check
import fault
import final
import history
import lists
import netns
import schedule
import world

import network_faults
import process_faults
import storage_faults
import store_faults
import use_faults

BUDGET = 30.0   # seconds until rows are acknowledged again when nothing stands in the way any more
SETTLE = 90.0   # seconds until all stream again
# Seconds that two servers may commit locally at once. In synchronous modes the new primary does not wait for the old one's
# lease when that one can confirm nothing any more: what it still commits for itself is confirmed to nobody.
WINDOW_ASYNC = 0.5
SOURCES = (process_faults, network_faults, store_faults, storage_faults, use_faults)


def available(options):
    """needs that can be met here."""
    have = {options.store}
    if shutil.which("strace"):
        have.add("strace")
    if not options.no_disks and shutil.which("mkfs.ext4") and can_mount():
        have.add("disk")
    return have


def can_mount():
    folder = tempfile.mkdtemp(prefix="baton-chaos-")
    image = os.path.join(folder, "disk.img")
    try:
        with open(image, "wb") as file:
            file.truncate(16 << 20)
        netns.command("mkfs.ext4", "-q", "-F", image)
        netns.command("mount", "-o", "loop", image, folder)
        netns.command("umount", folder)
        return True
    except Exception:
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose(options, have):
    """The rows that are asked for and possible; the names of those that are not."""
    wanted = options.only.split(",") if options.only else None
    unknown = set(wanted or ()) - {one.code for one in fault.ROWS}
    if unknown:
        raise SystemExit(f"scripts/chaos: no such fault: {', '.join(sorted(unknown))} (see --list)")
    rows, left = [], []
    for one in fault.ROWS:
        if one.code not in wanted if wanted is not None else one.is_beyond:
            continue
        missing = one.needs - have
        if missing or options.mode not in one.modes:
            left.append(f"{one.code} ({', '.join(sorted(missing)) or 'not in mode ' + options.mode})")
        else:
            rows.append(one)
    return rows, left


class Run:
    """One run: its faults, what was seen after each, and its verdicts."""

    def __init__(self, options, out):
        self.options, self.out = options, out
        self.violations = []
        self.healed = []
        self.windows = []  # (row, begin, end) of rows that may lose nothing
        self.begin = world.moment()

    def print(self, text):
        line = f"{world.moment() - self.begin:7.1f} s  {text}"
        print(("# " if self.options.test else "") + line.replace("\n", "\n# "), flush=True)
        print(line, file=self.out, flush=True)

    def violation(self, what):
        self.violations.append(what)
        self.print(f"VIOLATION {what}")

    def result(self, name, is_good, text=""):
        """A line that scripts/test counts."""
        if self.options.test:
            print(f"{'ok' if is_good else 'FAIL'} chaos/{name}{' ' + text if text else ''}", flush=True)

    def settle(self, w, row):
        """Everything heals by itself, the standbys catch up; otherwise by force, and that is a violation."""
        try:
            w.cluster.wait_healthy(SETTLE)
            self.catch_up(w)
            return
        except Failure as failure:
            self.violation(f"{row.name}: I6: {failure}: {w.state()}")
        self.keep_logs(w, row.code)
        for node in w.nodes:
            node.kill_node()
        w.heal()
        w.cluster.wait_healthy(SETTLE)

    def catch_up(self, w):
        """Streaming is not enough: a standby can receive and have stopped to replay."""
        place = []
        def is_so():
            primary = w.cluster.primary()
            if primary is None:
                return False
            try:
                place[:] = place or [primary.sql("SELECT pg_current_wal_lsn()")]
                return primary.sql(f"SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= '{place[0]}'") \
                    == str(len(w.nodes) - 1)
            except Failure:
                return False
        world.wait_until("the standbys have replayed what was there when all streamed", is_so, 60, 0.2)

    def keep_logs(self, w, name):
        folder = os.path.join(w.folder, f"logs-{name}-{len(self.violations)}")
        os.makedirs(folder, exist_ok=True)
        for node in w.nodes:
            runtime = os.path.join(node.folder, "run", "baton") if w.has_disks else node.data + ".baton"
            for path in (node.log, os.path.join(runtime, "postgres.log"), os.path.join(runtime, "guard.log")):
                if os.path.exists(path):
                    shutil.copy(path, os.path.join(folder, f"{node.name}-{os.path.basename(path)}"))
        self.print(f"logs: {folder}")

    def step(self, w, step):
        row = step.row
        w.notes = []
        known = len(self.violations)
        before, at = w.switches(), world.moment()
        failed = None
        try:
            row.run(w, step)
        except Failure as failure:
            failed = f"{row.name}: {' '.join(row.invariants)}: {failure}"
        except Exception:
            failed = f"{row.name}: the fault could not be made: {traceback.format_exc(limit=4)}"
        w.heal()
        healed = world.moment()
        if failed:
            self.violation(failed)
            self.keep_logs(w, row.code)
        self.settle(w, row)
        w.clear_replaced()
        settled, after = world.moment(), w.switches()
        if not w.writers.are_alive():
            raise Failure("a writer has ended")
        if after - before > row.failovers:
            self.violation(f"{row.name}: I7: {after - before} changes of the primary's timeline, at most {row.failovers} allowed")
            self.keep_logs(w, row.code)
        self.healed.append((row.name, healed))
        self.windows.append([row, at, settled])
        pause, _ = check.pause_after(self.followers(w), at)
        self.print(f"{row.name}: {'; '.join(w.notes) or row.title} | writes paused {show(pause)}, healed after "
                   f"{healed - at:.1f} s, all stream {settled - healed:.1f} s later, {after - before} new timelines")
        self.result(row.name.replace(" ", "-"), len(self.violations) == known)

    def followers(self, w):
        """Attempts of the clients that look for a primary: theirs are the pauses."""
        return history.read_all(w.writers.paths["rows"])

    def judge(self, w):
        """All writers are stopped; the verdicts."""
        attempts = history.read_all(w.writers.paths["rows"] + w.writers.paths["pinned"])
        probes = history.read_all(w.writers.paths["probe"])
        transactions = history.read_all(w.writers.paths["lists"])
        mode = self.options.mode
        primary, finals, table, complaints = final.read(w)
        for text in complaints:
            self.print(f"final read: {text}")
        timeline, switches, said = None, {}, None
        if primary is not None:
            node = w.cluster.node(primary)
            timeline, switches = history.newest_switches(os.path.join(node.data, "pg_wal"))
            code, body = node.get("/history")
            said = json.loads(body) if code == 200 else None
        lease = w.ttl + WINDOW_ASYNC
        verdicts = [
            check.check_rows(attempts, finals, primary, mode),
            check.check_two_writers(attempts),
            check.check_windows(probes, WINDOW_ASYNC if mode == check.MAY_LOSE else lease),
            check.check_positions(attempts, timeline, switches, mode),
            check.check_declared(said, switches),
            lists.check_lists(transactions, table, mode, lease),
            check.check_availability(self.followers(w), self.healed, BUDGET),
            check.check_convergence(w.state()),
        ]
        verdicts.append(self.judge_lossless(attempts, finals.get(primary)))
        return verdicts

    def judge_lossless(self, attempts, rows):
        """No row that was acknowledged while a fault was made that may lose nothing is lost, in no mode.

        What was acknowledged in the last second before the next fault may be lost by that one."""
        if rows is None:
            return check.Verdict("faults that lose nothing", "unknown", "there is no final read")
        lost = check.lost_rows(attempts, rows)
        wrong = []
        for row, begin, end in self.windows:
            own = [one for one in lost if begin <= one.end < end - 1]
            if row.lossless and own:
                wrong.append(f"{row.name}: {len(own)} rows: {check.some(own)}")
        for row, begin, end in self.windows:
            count = sum(1 for one in lost if begin - 1 <= one.end < end - 1)
            if count:
                self.print(f"lost around {row.name}: {count} rows")
        count = sum(1 for row, _, _ in self.windows if row.lossless)
        return check.Verdict("faults that lose nothing", "fail" if wrong else "pass", "; ".join(wrong) or f"{count} of them")


def show(seconds):
    return "?" if seconds is None else f"{seconds:.2f} s"


def check_mode(w):
    """In a synchronous mode a standby confirms commits before anything is judged by that."""
    query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"
    world.wait_until(f"mode {w.mode} is in force", lambda: w.primary().sql(query) != "0", 30, 0.2)


def run_faults(run, w, steps):
    options = run.options
    w.begin()
    if options.mode != check.MAY_LOSE:
        check_mode(w)
    run.print(f"seed {options.seed}, mode {options.mode}, store {options.store}, {len(steps)} faults; the logs are below "
              f"{w.folder}")
    begin = world.moment()
    for at, step in enumerate(steps):
        due = begin + at * options.every
        if world.moment() > begin + options.duration and not options.test:
            run.print(f"the time is over: {len(steps) - at} faults are left out")
            break
        time.sleep(max(1.5, due - world.moment()))
        run.step(w, step)
    time.sleep(2)
    w.writers.stop()
    w.cluster.wait_healthy(SETTLE)


def finish(run, w, steps):
    good = True
    try:
        run_faults(run, w, steps)
    except Failure as failure:
        run.violation(f"the run ended early: {failure}")
        run.keep_logs(w, "end")
        w.writers.kill()
    for verdict in run.judge(w):
        run.print(f"{verdict.verdict.upper():7} {verdict.checker}: {verdict.text}")
        is_fine = verdict.verdict in ("pass", "loss")
        run.result(verdict.checker.replace(" ", "-"), is_fine, verdict.text)
        good = good and is_fine
    run.print(f"{len(run.healed)} faults, {len(run.violations)} violations")
    for what in run.violations:
        run.print(f"- {what.strip()}")
    return good and not run.violations


def listing():
    for one in fault.ROWS:
        extra = [f"needs {name}" for name in sorted(one.needs)] + ([] if one.modes == fault.ANY else list(one.modes))
        print(f"{one.code:5} {one.run.__name__:32} {' '.join(one.invariants):12} {one.title}"
              + (f" ({', '.join(extra)})" if extra else ""))
    print(f"{len(fault.ROWS)} faults")


def parse(words):
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same faults (default 1)")
    parser.add_argument("--duration", type=float, default=180, help="seconds of faults (default 180)")
    parser.add_argument("--every", type=float, default=20, help="seconds from one fault to the next (default 20)")
    parser.add_argument("--mode", choices=sorted(world.MODES), default="async")
    parser.add_argument("--store", choices=["own", "etcd"], default="own", help="the agents' own store or an external one")
    parser.add_argument("--ttl", type=int, default=5, help="length of the lease in seconds (default 5)")
    parser.add_argument("--only", metavar="ID,...", help="these faults, in turn by the seed")
    parser.add_argument("--list", action="store_true", help="the table of faults")
    parser.add_argument("--report", metavar="FILE", default=os.devnull, help="also write what is printed there")
    parser.add_argument("--no-disks", action="store_true", help="no small file systems")
    parser.add_argument("--test", action="store_true", help="a line for scripts/test after each fault and verdict")
    parser.add_argument("--keep", action="store_true", help="keep histories and logs when all went well")
    return parser.parse_args(words)


def new_folder():
    folder = tempfile.mkdtemp(prefix="baton-chaos-")
    os.chmod(folder, 0o755)
    entry = pwd.getpwnam(USER)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder


def on_end(*_):
    """The first time; what is cleaned up afterwards must not be interrupted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def main(words=None):
    options = parse(words)
    if options.list:
        return listing()
    reason = netns.cannot()
    if reason:
        print(f"skip chaos {reason}")
        return 0
    have = available(options)
    rows, left = choose(options, have)
    if not rows:
        raise SystemExit(f"scripts/chaos: none of these faults can be made here: {', '.join(left)}")
    steps = schedule.draw(options.seed, max(1, int(options.duration / options.every)), rows)
    signal.signal(signal.SIGTERM, on_end)
    with open(options.report, "w", encoding="utf-8") as out:
        run = Run(options, out)
        if left:
            run.print(f"not possible here: {', '.join(left)}")
        w = world.World(new_folder(), options.mode, options.store, "disk" in have, options.ttl)
        good = False
        try:
            good = finish(run, w, steps)
        finally:
            w.end()
        if good and not options.keep:
            w.remove()
        run.print("all is well" if good else f"the histories and logs are in {w.folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
