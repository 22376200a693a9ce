"""A mistake in the configuration: exit code 2, the file and the key are named, nothing is touched."""

import pytest

from tests.acceptance.product import Product
from tests.lab import LibvirtGuest

pytest_plugins = ["tests.lab.fixtures"]


@pytest.fixture
def good(product: Product) -> Product:
    product.table("machines.vm", agent="unix:/nowhere/qga.sock")
    product.job("vm", cut=["/bin/true"])
    return product


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[jobs.x]\nmachines = []", "jobs.x.machines"),
        ('[jobs.x]\nmachines = ["vn"]\ndriver = "command"', 'jobs.x.machines[0] = "vn": there is no such machine'),
        ('[jobs.x]\nmachines = ["vm"]\ndriver = "tape"', 'jobs.x.driver = "tape": there is no such driver'),
        (
            '[jobs.x]\nmachines = ["vm"]\ndriver = "command"\nhold_limit = 5',
            "jobs.x.hold_limit = 5: must be a duration",
        ),
        ('[jobs.x]\nmachines = ["vm"]\ndriver = "command"\nquiese = "off"', "jobs.x.quiese: unknown key; did you mean"),
        ('[jobs.x]\nmachines = ["vm"]\ndriver = "command"\nschedule = "0 25 * * *"', "jobs.x.schedule"),
        ('[machines.y]\nagent = "tcp:1.2.3.4"', 'machines.y.agent = "tcp:1.2.3.4": must be "unix:/absolute/path"'),
        ("[machines.y]", "machines.y: no way to the agent"),
        ("[machines.vm]", "not valid TOML"),
        ("x = ", "not valid TOML"),
        ('[jobs.x]\nmachines = ["vm"]\ndriver = "backup"', 'jobs.x: driver = "backup" needs a repository'),
        ('[jobs.x]\nmachines = ["vm"]\ndriver = "command"\nretention = {}', "jobs.x.retention = {}: give at least one"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_touched(good: Product, text: str, said: str) -> None:
    good.file.write_text(f"{good.file.read_text()}\n{text}\n")
    ended = good.run()
    assert ended.code == 2
    assert f"quiesce: {good.file}: " in ended.err
    assert said in ended.err
    assert ended.document["error"]["kind"] == "ConfigError"
    assert not good.journal.exists()


def test_an_address_that_others_can_reach_needs_tls(good: Product) -> None:
    good.table("service", listen=["0.0.0.0:8420"])
    ended = good.run()
    assert (ended.code, 'service.listen[0] = "0.0.0.0:8420": an address that others can reach' in ended.err) == (
        2,
        True,
    )


def test_all_mistakes_are_told_at_once_and_by_every_command(good: Product) -> None:
    good.file.write_text(f'{good.file.read_text()}\n[machines.y]\nagent = ""\n[machines.z]\nqmp = ""\n')
    for words in (["run", "job"], ["history"], ["show", "x"], ["thaw", "vm"], ["recover"], ["check"], ["serve"]):
        ended = good(*words)
        assert (ended.code, ended.out) == (2, "")
        assert {"machines.y.agent", "machines.z.qmp"} <= {
            word for line in ended.err.splitlines() for word in line.split()
        }
    assert not good.journal.exists()


def test_options_of_a_driver_are_checked_before_the_run_exists(good: Product) -> None:
    good.table("jobs.job.options", cut=["/bin/true"], tape="1")
    ended = good.run()
    assert (ended.code, ended.document["error"]["kind"]) == (2, "ConfigError")
    assert "job job: the driver has no option 'tape'" in ended.err
    assert good.history() == []


def test_a_machine_that_its_driver_cannot_cut(good: Product) -> None:
    good.job("vm", name="snapshot")
    ended = good("run", "snapshot")
    assert ended.code == 2
    assert "the machine vm has neither `hypervisor` nor `qmp`" in ended.err
    assert good.history() == []


def test_a_file_that_is_not_there(product: Product) -> None:
    ended = product("history")
    assert (ended.code, ended.out) == (2, "")
    assert f"quiesce: {product.file}: No such file or directory" in ended.err


@pytest.mark.real
def test_a_first_configuration_is_made_from_the_domains_that_there_are(
    product: Product, libvirt_guest: LibvirtGuest
) -> None:
    made = product("init", "--json")
    assert made.code == 0
    assert libvirt_guest.name in made.document["domains"]
    assert product("init").code == 2  # it is left as it is
    machines = {machine["domain"] for machine in product("machines", "--json").document}
    assert machines == set(made.document["domains"])
