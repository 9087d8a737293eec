"""Makes what a `Task` describes: namespaces, devices, addresses, rules. Runs in the laboratory's own process.

Where the user may not, it all is in a user namespace in which he may.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .conntrack import forget_connections
from .errors import LaboratoryUnavailable
from .link_protocol import BoxTask, NamespaceTask, Task
from .nat_probe import Box, Observed, probe
from .syscalls import CLONE_NEWNET, CLONE_NEWUSER, TOOL_PATH, setns, unshare
from .tun import open_tun

TOOL_TIMEOUT = 20.0
"""Seconds that a program has which does its work in some milliseconds."""

OWN_NAMESPACE = "/proc/self/ns/net"


@dataclass(frozen=True)
class Tunnel:
    """The descriptors of two devices."""

    low: int
    high: int


@dataclass(frozen=True)
class Building:
    """What was made. It is there as long as the descriptors are open."""

    namespaces: tuple[int, ...]
    tunnels: tuple[Tunnel, ...]
    boxes: tuple[Observed, ...]
    in_user_namespace: bool


def build(task: Task) -> Building:
    """Make it all, and verify the gateways. Raises `LaboratoryUnavailable`, which says what is missing."""
    if not sys.platform.startswith("linux"):
        raise LaboratoryUnavailable("network namespaces exist on Linux only")
    for tool in ("ip", *(("nft",) if any(namespace.rules for namespace in task.namespaces) else ())):
        if shutil.which(tool, path=TOOL_PATH) is None:
            raise LaboratoryUnavailable(MISSING_TOOLS[tool])
    outside = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    needs_user_namespace = not _may_make_namespaces()
    if needs_user_namespace:
        become_root_of_a_namespace()
    try:
        return _build(task, in_user_namespace=needs_user_namespace)
    finally:
        if not needs_user_namespace:  # or the way back is barred
            setns(outside, CLONE_NEWNET)
        os.close(outside)


def _may_make_namespaces() -> bool:
    """Whether the user may, as root may who has not lost the right to, as in most containers."""
    try:
        unshare(CLONE_NEWNET)
    except OSError as error:
        if error.errno == errno.EPERM:
            return False
        raise LaboratoryUnavailable(f"no network namespace can be made: {error.strerror}") from error
    return True


MISSING_TOOLS = {
    "ip": "the program ip is missing: install iproute2",
    "nft": "the program nft, which makes gateways, is missing: install nftables",
}


def become_root_of_a_namespace() -> None:
    """Make a user namespace in which the user is root, and enter it. Raises `LaboratoryUnavailable`."""
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny", encoding="utf-8")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="utf-8")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="utf-8")
    except OSError as error:
        why = why_no_user_namespace(error)
        raise LaboratoryUnavailable(
            f"you may not make network namespaces, nor a user namespace in which you might: {why}"
        ) from error


def why_no_user_namespace(error: OSError) -> str:
    """Say what keeps users from namespaces of their own, and how it is changed."""
    if _reads("/proc/sys/user/max_user_namespaces") == "0":
        return "none are allowed here (sysctl user.max_user_namespaces=10000 allows them)"
    if _reads("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "only root may make one (sysctl kernel.unprivileged_userns_clone=1 lets everybody)"
    if _reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor allows none (sysctl kernel.apparmor_restrict_unprivileged_userns=0, "
            "or a profile for this Python, does)"
        )
    if error.errno == errno.ENOSPC:
        return "there are too many of them (sysctl user.max_user_namespaces)"
    return str(error.strerror)


def _reads(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _build(task: Task, *, in_user_namespace: bool) -> Building:
    namespaces = tuple(_make(namespace) for namespace in task.namespaces)
    tunnels: list[Tunnel] = []
    for tunnel in task.tunnels:
        ends: list[int] = []
        for end in (tunnel.low, tunnel.high):
            setns(namespaces[end.namespace], CLONE_NEWNET)
            ends.append(open_tun(end.device))
        tunnels.append(Tunnel(*ends))
    for fd, namespace in zip(namespaces, task.namespaces, strict=True):
        setns(fd, CLONE_NEWNET)
        _furnish(namespace)
    boxes = tuple(
        _verify(box, tunnels, namespaces[box.namespace], task.namespaces[box.namespace]) for box in task.boxes
    )
    return Building(namespaces, tuple(tunnels), boxes, in_user_namespace)


def _make(namespace: NamespaceTask) -> int:
    try:
        unshare(CLONE_NEWNET)
    except OSError as error:
        what = why_no_user_namespace(error) if error.errno == errno.EPERM else error.strerror
        raise LaboratoryUnavailable(f"no network namespace can be made: {what}") from error
    _set(namespace.settings)
    return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


def _furnish(namespace: NamespaceTask) -> None:
    _run(["ip", "-batch", "-"], "\n".join(("link set dev lo up", *namespace.lines)) + "\n")
    if namespace.rules:
        _run(["nft", "-f", "-"], namespace.rules)
    _set(namespace.late_settings)


def _verify(task: BoxTask, tunnels: Sequence[Tunnel], fd: int, namespace: NamespaceTask) -> Observed:
    box = Box(
        inside=tunnels[task.inside].high,
        outside=tunnels[task.outside].low,
        host_address=task.host_address,
        external_address=task.external_address,
    )
    try:
        observed = probe(box)
    except LaboratoryUnavailable as error:
        raise LaboratoryUnavailable(f"the gateway {task.name!r}: {error}") from error
    if differences := observed.differences(task.nat):
        raise LaboratoryUnavailable(
            f"this kernel's nftables do not make the gateway {task.name!r} as asked: {'; '.join(differences)}"
        )
    setns(fd, CLONE_NEWNET)
    _run(["nft", "-f", "-"], namespace.rules)  # it has seen nobody yet
    forget_connections()
    return observed


def _set(settings: Sequence[tuple[str, str]]) -> None:
    for path, value in settings:
        try:
            Path("/proc/sys", path).write_text(value, encoding="utf-8")
        except OSError as error:
            raise LaboratoryUnavailable(
                f"/proc/sys/{path} cannot be set to {value}: {error.strerror}"
            ) from error


def _run(argv: Sequence[str], text: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 (our own words)
            argv,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": TOOL_PATH},
            timeout=TOOL_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise LaboratoryUnavailable(f"{' '.join(argv)} does not end") from error
    if done.returncode:
        what = " / ".join(done.stderr.split("\n")).strip(" /") or f"exit status {done.returncode}"
        raise LaboratoryUnavailable(f"{' '.join(argv)}: {what}")
