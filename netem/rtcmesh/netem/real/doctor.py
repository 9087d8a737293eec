"""What of a laboratory this machine can have, found out by making it."""

from __future__ import annotations

import platform
import shutil
from typing import NamedTuple

from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, NatConfig, Topology, Uplink

from .carrier import carrying
from .errors import LaboratoryUnavailable, LinkProcessFailed
from .link_protocol import NamespaceTask, Task
from .nat_probe import Observed
from .plan import Plan
from .topology import real_topology

SERVER = "server"


class Finding(NamedTuple):
    """One thing that a laboratory needs, or could use."""

    what: str
    works: bool
    says: str
    """How it was found, or what is missing and how to get it."""
    is_needed: bool = True


async def examine() -> list[Finding]:
    """Try everything, up to the first thing without which nothing further can work."""
    runs_ahead = False
    findings = [Finding("system", platform.system() == "Linux", f"{platform.system()} {platform.release()}")]
    if not findings[0].works:
        return [*findings, Finding("namespaces", works=False, says="they exist on Linux only")]
    for what, task in (
        ("namespaces", Task(seed=0, namespaces=(NamespaceTask(),), tunnels=())),
        ("links", Plan(Topology(hosts=(HostSpec(name=SERVER),))).task(seed=0)),
        ("gateways", Plan(behind(NATS)).task(seed=0)),
    ):
        try:
            async with carrying(task) as carrier:
                in_user_namespace, runs_ahead = carrier.in_user_namespace, carrier.runs_ahead
        except (LaboratoryUnavailable, LinkProcessFailed) as error:
            return [*findings, Finding(what, works=False, says=str(error))]
        how = _HOW[what] or ("in a user namespace" if in_user_namespace else "as root")
        findings.append(Finding(what, works=True, says=how))
    how = (
        "ahead of all other processes"
        if runs_ahead
        else "like any other process: busy machines delay it (root does not)"
    )
    return [*findings, Finding("punctuality", runs_ahead, f"the link runs {how}", is_needed=False), _coturn()]


def behind(nats: dict[str, NatConfig]) -> Topology:
    """Return a topology with a host behind each of these gateways, which have their names, and a server."""
    gateways = tuple(GatewaySpec(name=name, nat=nat) for name, nat in nats.items())
    hosts = tuple(HostSpec(name=f"{name} host", uplinks=(Uplink(to=name),)) for name in nats)
    return Topology(hosts=(*hosts, HostSpec(name=SERVER)), gateways=gateways)


async def check_nats(nats: dict[str, NatConfig]) -> dict[str, Observed]:
    """Make gateways of these kinds and return how they behave. Raises `LaboratoryUnavailable` if not as asked."""
    async with real_topology(behind(nats)) as lab:
        return dict(lab.boxes)


_HOW = {
    "namespaces": "",
    "links": "TUN devices, moved by iproute2",
    "gateways": f"nftables, each verified: {', '.join(NATS)}",
}


def _coturn() -> Finding:
    path = shutil.which("turnserver")
    says = path or "turnserver is missing: install coturn, if a test is to have a TURN server"
    return Finding("coturn", path is not None, says, is_needed=False)
