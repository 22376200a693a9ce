"""Where notices go: what is wrong is said by its place, and an address never."""

import re
from pathlib import Path

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.errors import ConfigError
from orchestrator.model import Delivery, Notices
from orchestrator.notify.addresses import Address, addresses
from tests.fakes.mailbox import Mailbox

SOURCE = Path("/etc/quiesce/quiesce.toml")
CLOCK = SystemClock()


def send(address: Address, seconds: float = 60) -> Delivery:
    return address.send("title", "<b>body</b> & more", CLOCK, Deadline.after(CLOCK, seconds))


def test_addresses_stand_in_the_configuration_and_in_a_file_of_its_own(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    with Mailbox() as first, Mailbox() as second:
        secrets.write_text(f"# mine\n\n  {second.url}\n")
        found = addresses(Notices((first.url,), str(secrets)), SOURCE)
        names = [f"{SOURCE}: notices.urls[0] (json)", f"{secrets}: line 3 (json)"]
        assert [send(each) for each in found] == [Delivery(name) for name in names]
        for mailbox in (first, second):
            taken = mailbox.take()
            assert (taken["title"], taken["message"]) == ("title", "<b>body</b> & more")
    assert "s3cret" not in repr(Notices(("json://s3cret@host",)))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("jsonn://user:s3cret@host", "apprise knows no addresses that begin with jsonn://"),
        ("s3cret", "must be an address"),
        ("slack://s3cret", "look up how those that begin with slack:// are written"),
    ],
)
def test_a_wrong_address_is_named_by_its_place_and_not_shown(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{SOURCE}: notices.urls[1]: ")) as caught:
        addresses(Notices(("json://localhost", url)), SOURCE)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file, says in [(tmp_path / "none", "No such file"), (tmp_path, "not a regular file")]:
        with pytest.raises(ConfigError, match=re.escape(f"{SOURCE}: notices.urls_file: {file}")) as caught:
            addresses(Notices(urls_file=str(file)), SOURCE)
        assert says in str(caught.value)


def test_an_address_that_is_mute_is_left_alone_until_it_has_answered() -> None:
    with Mailbox(mute=True) as mute:
        [address] = addresses(Notices((mute.url + "?rto=120",)), SOURCE)
        assert send(address, 0.2).error == "no answer in time"
        assert send(address, 60).error == "the message before is still being sent"
        mute.take()
        assert mute.empty


def test_an_address_that_refuses_is_told() -> None:
    with Mailbox(status=500) as broken:
        [address] = addresses(Notices((broken.url,)), SOURCE)
        assert send(address).error == "it was not taken"
