"""Network namespaces from Python: create, enter, run programs in, delete; sweep what dead owners left; flush conntrack.

Names are `upl<pid>-<lab>-<role>`: the pid of the process that made them tells whether they are still in use.
"""

import contextlib
import ctypes
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator

_RUN_NETNS = "/run/netns"
_NAME = re.compile(r"^upl(\d+)-\d+-\w+$")
_CLONE_NEWNET = 0x40000000
_NETLINK_NETFILTER = 12
_CT_DELETE = (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_NLM_F_REQUEST_ACK = 0x0005

_PING = bytes.fromhex("0800f7fd00010001")  # echo request, checksum, id 1, sequence 1
_ECHO_REPLY = 0
_PING_INTERVAL_S = 0.02
_PING_COUNT = 250

_NFT_PROBE = """
table ip t {
  chain c { type nat hook postrouting priority 100; meta l4proto udp masquerade random,fully-random; }
}
"""

_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Return the reason why namespaces cannot be used here, or an empty string."""
    if os.geteuid() != 0:
        return "the NAT lab needs root (network namespaces)"
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        return f"the NAT lab needs {' and '.join(missing)}: .ci/system-packages natlab installs them"
    probe = f"upl{os.getpid()}-0-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    try:
        with inside(probe):
            nft = subprocess.run(["nft", "-c", "-f", "-"], input=_NFT_PROBE, capture_output=True, text=True)
        return "" if nft.returncode == 0 else f"nftables NAT does not work here: {nft.stderr.splitlines()[0]}"
    finally:
        delete([probe])


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Move the calling thread into a namespace; sockets and processes made meanwhile stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"{_RUN_NETNS}/{name}", os.O_RDONLY)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def batch(script: str, name: str | None = None) -> None:
    """Run lines of `ip` sub-commands, in a namespace if one is named."""
    command = ["ip"] + (["-n", name] if name else []) + ["-batch", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip -batch in {name}: {done.stderr.strip()}\n{script}")


def nft(name: str, script: str) -> None:
    """Load an nft script in a namespace."""
    with inside(name):
        done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nft in {name}: {done.stderr.strip()}\n{script}")


_ROUTER_SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "bridge/bridge-nf-call-iptables": "0",  # a LAN switches: what stays inside it is none of the NAT's business
}


def make_router(name: str) -> None:
    """Make a namespace forward packets, send no redirects and leave bridged packets alone."""
    with inside(name):
        for key, value in _ROUTER_SETTINGS.items():
            with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/net/{key}", "w", encoding="ascii") as file:
                file.write(value)


def wait_reachable(name: str, ip: str) -> None:
    """Wait until pings from a namespace are answered: links forward only once the kernel has seen their carrier."""
    with inside(name):
        icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with icmp:
        icmp.settimeout(_PING_INTERVAL_S)
        for _ in range(_PING_COUNT):
            with contextlib.suppress(OSError):  # time-out, or no route while a link comes up
                icmp.sendto(_PING, (ip, 0))
                if icmp.recv(128)[20] == _ECHO_REPLY:
                    return
            time.sleep(0.001)
    raise RuntimeError(f"{name} does not reach {ip}")


def flush_conntrack(name: str) -> None:
    """Forget every tracked flow of a namespace (ctnetlink delete without a filter)."""
    request = struct.pack("=IHHII", 20, _CT_DELETE, _NLM_F_REQUEST_ACK, 1, 0) + struct.pack("=BBH", 0, 0, 0)
    with inside(name), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        netlink.send(request)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, "conntrack flush failed")


def delete(names: list[str]) -> None:
    """Delete those of the namespaces that exist."""
    present = [name for name in names if os.path.exists(f"{_RUN_NETNS}/{name}")]
    if present:
        script = "".join(f"netns del {name}\n" for name in present)
        subprocess.run(["ip", "-force", "-batch", "-"], input=script, capture_output=True, text=True)


def sweep() -> list[str]:
    """Delete what labs of dead processes left behind and return the names."""
    if not os.path.isdir(_RUN_NETNS):
        return []
    found = [(name, _NAME.match(name)) for name in os.listdir(_RUN_NETNS)]
    stale = [name for name, match in found if match and not os.path.exists(f"/proc/{match.group(1)}")]
    delete(stale)
    return stale
