"""What a run needs beside its guest, killed in its window: the libvirtd of the guest, and the journal's PostgreSQL.

Two of the cases with every change, all of them with `make soak`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import pytest

from tests.lab import AGENT_CHANNEL, HIDDEN_CHANNEL, PATIENCE, BareGuest, Guest, Spec, wait_for
from tests.lab.own_libvirtd import OwnLibvirtGuest
from tests.matrix.guests import CUT, FROZEN, LONG, NOT_THERE, Doomed, Trial, crossed_by_a_run, trial, window
from tests.matrix.rounds import Column, document, several
from tests.postgres import Cluster, running_cluster

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: Where the journal is asked before the freeze.
BEFORE = ["before journal.open_run", "after journal.open_run", "before driver.prepare", "before journal.move"]


def guest_of_its_own() -> OwnLibvirtGuest:
    """A guest with both ways to its agent, whose libvirtd may be killed."""
    return OwnLibvirtGuest(Spec(channels=(AGENT_CHANNEL, HIDDEN_CHANNEL)))


@pytest.fixture(scope="module")
def own_libvirt_guest(lab: None) -> Iterator[OwnLibvirtGuest]:
    with guest_of_its_own() as guest:
        yield guest


def wait_thawed(guest: Guest) -> None:
    wait_for(lambda: not guest.fs_frozen(), PATIENCE, "the guest to be thawed")


def killed_and_started(guest: OwnLibvirtGuest, boundary: str) -> str:
    """libvirtd is killed there and started at once: the run goes on with the new one."""
    with trial(guest) as made:
        daemon = guest.daemon
        run = made.command("run", "job", "--json", deeds={boundary: f"{daemon.killing}; {daemon.starting}"})
        assert run.ended.code in {0, 1}, run.ended
        assert not guest.fs_frozen()
        return came_to(boundary, run, made)


def killed_until_the_end(guest: OwnLibvirtGuest, boundary: str) -> str:
    """libvirtd is killed there, the only way to the guest, and started when the run has ended."""
    with trial(guest) as made:
        run = made.command("run", "job", "--json", deeds={boundary: guest.daemon.killing})
        assert run.ended.code in {1, 3}, run.ended
        assert guest.fs_frozen() <= (run.ended.code == 3), "frozen, and nobody says so"
        guest.daemon.start()
        wait_thawed(guest)  # by the guard
        made.recover()
        return came_to(boundary, run, made, stuck=run.ended.code == 3)


def killed_with_the_run(guest: OwnLibvirtGuest, boundary: str, *, socket: bool) -> str:
    """libvirtd and the run are killed there. The guard thaws by the socket, or when libvirtd has been started."""
    with trial(guest) as made:
        if socket:
            made.add_socket()
        run = made.command("run", "job", "--json", end=boundary, deeds={boundary: guest.daemon.killing})
        if socket:
            wait_thawed(guest)
        guest.daemon.start()
        wait_thawed(guest)
        made.recover()
        return came_to(boundary, run, made)


LIBVIRTD: Mapping[str, Column[OwnLibvirtGuest]] = {
    "started at once": killed_and_started,
    "started after the run": killed_until_the_end,
    "and the run, started": lambda guest, boundary: killed_with_the_run(guest, boundary, socket=False),
    "and the run, two ways": lambda guest, boundary: killed_with_the_run(guest, boundary, socket=True),
}


@contextmanager
def with_database(guest: Guest, cluster: Cluster) -> Iterator[Trial]:
    """A trial whose journal is a new database of that server."""
    with trial(guest) as made:
        made.keep_journal(cluster.url(cluster.create()))
        yield made


def database_killed(guest: Guest, boundary: str, cluster: Cluster, *, back: bool) -> str:
    """PostgreSQL is killed there. It comes back when the run has found it away after the thaw, or has ended."""
    if back and boundary in BEFORE:
        return NOT_THERE  # It never comes to a thaw.
    with with_database(guest, cluster) as made:
        deeds = {"after journal.move, 2": cluster.starting} if back else {}
        run = made.command("run", "job", "--json", deeds={**deeds, boundary: cluster.killing})
        frozen = guest.frozen_mounts()
        if not back:
            cluster.start()
        assert (frozen, run.ended.code) == ([], 0 if back else 1), run.ended
        check_order(boundary, run)
        made.recover()
        return came_to(boundary, run, made)


def database_killed_with_the_run(guest: Guest, boundary: str, cluster: Cluster) -> str:
    """PostgreSQL and the run are killed there. The guard thaws without a journal."""
    with with_database(guest, cluster) as made:
        run = made.command("run", "job", "--json", end=boundary, deeds={boundary: cluster.killing})
        try:
            wait_thawed(guest)
        finally:
            cluster.start()
        made.recover()
        return came_to(boundary, run, made)


def check_order(boundary: str, run: Doomed) -> None:
    """Without a journal no guest is frozen, and a frozen one is thawed before the journal is asked again."""
    if boundary in BEFORE:
        assert "before agent.freeze" not in run.crossed
    else:
        assert not any("journal" in crossed for crossed in window(run.crossed))


def came_to(boundary: str, run: Doomed, made: Trial, *, stuck: bool = False) -> str:
    seen = made.check()
    if boundary not in run.crossed:
        return NOT_THERE
    return f"stuck, then {seen}" if stuck else seen


def with_a_server(column: Callable[[Guest, str, Cluster], str]) -> Column[Guest]:
    """Each case has a server of its own, as several cases are tried at once."""

    def tried(guest: Guest, boundary: str) -> str:
        with running_cluster() as cluster:
            return column(guest, boundary, cluster)

    return tried


POSTGRESQL: Mapping[str, Column[Guest]] = {
    "started after the thaw": with_a_server(partial(database_killed, back=True)),
    "started after the run": with_a_server(partial(database_killed, back=False)),
    "and the run, started": with_a_server(database_killed_with_the_run),
}


def test_libvirtd_is_killed_in_the_window(own_libvirt_guest: OwnLibvirtGuest) -> None:
    assert killed_and_started(own_libvirt_guest, CUT) == "done, filesystem"


@pytest.mark.soak
def test_libvirtd_and_the_run_are_killed_in_the_window(own_libvirt_guest: OwnLibvirtGuest) -> None:
    assert killed_with_the_run(own_libvirt_guest, FROZEN, socket=True) == "recovered, none"


def test_the_database_is_killed_in_the_window(bare_guest: BareGuest, postgres: Cluster) -> None:
    assert database_killed(bare_guest, FROZEN, postgres, back=True) == "done, filesystem"


@pytest.mark.soak
@pytest.mark.timeout(LONG)
def test_libvirtd_is_killed_at_every_boundary_of_the_window(lab: None) -> None:
    with several(guest_of_its_own) as guests:
        document("libvirtd", "libvirtd is killed", guests, window(crossed_by_a_run(guests[0].at_rest())), LIBVIRTD)


@pytest.mark.soak
@pytest.mark.timeout(LONG)
def test_the_database_is_killed_at_every_boundary_of_the_window(lab: None) -> None:
    with several(BareGuest) as guests:
        boundaries = [*BEFORE, *window(crossed_by_a_run(guests[0].at_rest()))]
        document("postgres", "PostgreSQL is killed", guests, boundaries, POSTGRESQL)
