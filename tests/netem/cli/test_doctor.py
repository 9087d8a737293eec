"""What the laboratory says about machines that lack something, each made so for the test."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from rtcmesh.netem.real.doctor import behind
from rtcmesh.netem.real.syscalls import TOOL_PATH
from rtcmesh.netem.topology import NATS
from support.processes import RTCMESH

pytestmark = pytest.mark.namespaces

WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all")
"""What an ordinary user may. Of root's rights it has the one that its user id needs to be one in a user namespace."""


def diagnose(*prefix: str, **environment: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Return the exit code and what was found, by what it is about."""
    done = subprocess.run(
        [*prefix, str(RTCMESH), "netem", "doctor", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_root_has_it_all() -> None:
    code, found = diagnose()
    assert code == 0
    assert found["namespaces"]["says"] == "as root"
    assert all(found[what]["works"] for what in ("system", "namespaces", "links", "gateways", "punctuality"))


def test_a_user_without_rights_has_it_in_a_user_namespace() -> None:
    code, found = diagnose(*WITHOUT_RIGHTS)
    assert code == 0
    assert found["namespaces"]["says"] == "in a user namespace"
    assert all(found[what]["works"] for what in ("links", "gateways"))
    assert not found["punctuality"]["works"]


def test_a_user_who_may_have_no_user_namespace_is_told_how_he_might() -> None:
    forbidden = ("unshare", "--user", "--map-root-user", "sh", "-c")
    code, found = diagnose(
        *forbidden, 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh", *WITHOUT_RIGHTS
    )
    assert code == 1
    assert "sysctl user.max_user_namespaces=10000" in str(found["namespaces"]["says"])
    assert "links" not in found


def test_a_machine_without_tun_is_told_which_module_that_is() -> None:
    code, found = diagnose("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net; exec "$@"', "sh")
    assert code == 1
    assert "modprobe tun" in str(found["links"]["says"])


def test_a_tun_device_that_users_may_not_open_is_named(tmp_path: Path) -> None:
    device = tmp_path / "tun"
    os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    os.chown(device, 1, 1)
    closed = f'mount --bind {device} /dev/net/tun; exec "$@"'
    code, found = diagnose("unshare", "--mount", "sh", "-c", closed, "sh", *WITHOUT_RIGHTS)
    assert code == 1
    assert "chmod 666 /dev/net/tun" in str(found["links"]["says"])


@pytest.mark.parametrize(("tool", "missing_for"), [("nft", "gateways"), ("ip", "namespaces")])
def test_a_missing_program_is_named_with_its_package(tool: str, missing_for: str) -> None:
    path = Path(str(shutil.which(tool, path=TOOL_PATH))).resolve()
    hidden = f'mount --bind /dev/null {path}; exec "$@"'
    code, found = diagnose("unshare", "--mount", "sh", "-c", hidden, "sh")
    assert code == 1
    assert f"the program {tool}" in str(found[missing_for]["says"])


@pytest.mark.parametrize(
    ("hide", "says"),
    [
        ("mount -t tmpfs none /dev/net", "/dev/net/tun is missing: load the kernel module tun"),
        ("mount --bind /dev/null /dev/net/tun", "no TUN device can be made"),
    ],
)
def test_a_missing_tun_device_is_named_with_what_brings_it(hide: str, says: str) -> None:
    code, found = diagnose("unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh")
    assert code == 1
    assert found["namespaces"]["works"]
    assert says in str(found["links"]["says"])
    assert "gateways" not in found


def test_every_kind_of_gateway_is_shown_as_it_behaves() -> None:
    done = subprocess.run(
        [str(RTCMESH), "netem", "nat-check", "--json"], capture_output=True, text=True, check=True
    )
    observed = json.loads(done.stdout)
    assert list(observed) == list(NATS)
    assert observed["symmetric"]["mapping"] == "address-and-port-dependent"
    assert observed["udp-blocked"] == {
        "mapping": None,
        "filtering": None,
        "hairpinning": None,
        "ports": None,
    }


def test_the_topology_asked_has_everybody_behind_something() -> None:
    topology = behind(NATS)
    assert {host.uplinks[0].to for host in topology.hosts} == {"internet", *NATS}
