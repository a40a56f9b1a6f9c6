"""Bundles: one folder per server role (master-1, p2p-1, relay-1 ...) with what that server may know and nothing else.

The office writes them, `upeer serve` reads them; one may be copied to another machine and served alone. `node.json` is
replaced as a whole. What a server writes itself (`state.db`, run files) the office never touches.

A relay's bundle holds no platform key: its tickets carry all it needs.
"""

import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from upeer_office import files
from upeer_office.errors import UNREACHABLE, OfficeError
from upeer_office.platforms import Platform, Server
from upeer_office.verifiers import SqliteVerifiers, open_verifiers
from upeer_server.config import Generation, MasterConfig, NodeConfig, ServerEntry

ROLES = ("master", "p2p", "relay")
NODE_FILE = "node.json"
_FORMAT = "upeer node"


def write_bundles(platform: Platform) -> None:
    """Write every bundle of a platform anew and remove those of relays that are no more."""
    for role, servers in zip(ROLES, (platform.masters, platform.p2p_servers, platform.relays), strict=True):
        for server in servers:
            folder = platform.folder / f"{role}-{server.id}"
            files.make_private_folder(folder)
            files.write_json(folder / NODE_FILE, _document(platform, role, server))
            if role == "master":
                open_verifiers(folder).close()
    live = set(platform.bundle_names())
    for folder in platform.folder.glob("relay-*"):
        if folder.name not in live and (folder / NODE_FILE).is_file():
            shutil.rmtree(folder)


def load_nodes(folder: Path, roles: Iterable[str] | None = None, master_id: int | None = None) -> list[NodeConfig]:
    """Return one NodeConfig per HOST:PORT of a platform's folder or of one bundle's, with the chosen roles behind it.

    master_id chooses the address at which that master stands. Host names are looked up. OfficeError if none is left.
    """
    chosen = set(roles or ROLES)
    documents = [document | {"folder": path} for path in bundle_folders(folder) if (document := read_bundle(path))]
    if not documents:
        raise OfficeError(
            f"there is nothing to serve in {folder}", "give the folder of a platform or of one of its bundles"
        )
    if master_id is not None:
        documents = _at_master(documents, master_id)
    nodes: dict[tuple[str, int], NodeConfig] = {}
    for document in documents:
        if document["role"] in chosen:
            _join(nodes, document)
    if not nodes:
        raise OfficeError(f"no server with the roles {', '.join(sorted(chosen))} in {folder}", "choose other --roles")
    return list(nodes.values())


def bundle_folders(folder: Path) -> list[Path]:
    """Return the folders of bundles: the given one, or those below it in the order of role and id."""
    if (folder / NODE_FILE).is_file():
        return [folder]
    found = [path.parent for role in ROLES for path in folder.glob(f"{role}-*/{NODE_FILE}")]
    return sorted(found, key=lambda path: (ROLES.index(path.name.partition("-")[0]), len(path.name), path.name))


def read_bundle(folder: Path) -> dict[str, Any]:
    """Return the document of a bundle."""
    return files.read_json(folder / NODE_FILE, _FORMAT)


def bundle_name(document: dict[str, Any]) -> str:
    """Return the name under which a bundle's admin key was made, such as master-1."""
    return f"{document['role']}-{document['id']}"


def resolve(host: str) -> str:
    """Return the IPv4 address of a host; OfficeError when it has none."""
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise OfficeError(
            f"the name {host} is not known here", "check it, or the DNS of this machine", UNREACHABLE
        ) from error


def _document(platform: Platform, role: str, server: Server) -> dict[str, Any]:
    document: dict[str, Any] = {"format": _FORMAT, "version": 1, "role": role, "id": server.id}
    document |= {"host": server.host, "port": server.port, "secret": server.secret.hex()}
    document["admin_key"] = platform.admin_key(f"{role}-{server.id}").hex()
    document["generations"] = [] if role == "relay" else _generations(platform)
    if role == "master":
        document["p2p_servers"] = [_entry(entry) for entry in platform.p2p_servers]
        document["relays"] = [_entry(entry) for entry in platform.relays]
    return document


def _generations(platform: Platform) -> list[dict[str, Any]]:
    return [
        {"key_id": generation.key_id, "crc_key": generation.crc_key.hex(), "p2p_key": generation.p2p_key.hex()}
        for generation in platform.generations
    ]


def _entry(server: Server) -> dict[str, Any]:
    return {"id": server.id, "host": server.host, "port": server.port, "ticket_key": server.secret.hex()}


def _at_master(documents: list[dict[str, Any]], master_id: int) -> list[dict[str, Any]]:
    places = [
        (item["host"], item["port"]) for item in documents if item["role"] == "master" and item["id"] == master_id
    ]
    if not places:
        raise OfficeError(f"there is no master {master_id} here", "choose another --master-id")
    return [item for item in documents if (item["host"], item["port"]) in places]


def _join(nodes: dict[tuple[str, int], NodeConfig], document: dict[str, Any]) -> None:
    """Add a bundle's role to the node at its address."""
    host, port, role = resolve(document["host"]), document["port"], document["role"]
    generations = [_generation(item) for item in document["generations"]]
    admin_key, secret = bytes.fromhex(document["admin_key"]), bytes.fromhex(document["secret"])
    node = nodes.setdefault((host, port), NodeConfig(host, port, generations, admin_key))
    node.generations = node.generations or generations
    if role == "master":
        p2p_servers, relays = server_lists(document)
        node.master = MasterConfig(document["id"], secret, SqliteVerifiers(document["folder"]), p2p_servers, relays)
    elif role == "p2p":
        node.p2p = ServerEntry("p2p", document["id"], host, port, secret)
    else:
        node.relay = ServerEntry("relay", document["id"], host, port, secret)


def server_lists(document: dict[str, Any]) -> tuple[list[ServerEntry], list[ServerEntry]]:
    """Return the p2p servers and the relays that a master's bundle names, their hosts looked up."""
    return (
        [_server_entry("p2p", item) for item in document["p2p_servers"]],
        [_server_entry("relay", item) for item in document["relays"]],
    )


def _server_entry(kind: str, item: dict[str, Any]) -> ServerEntry:
    return ServerEntry(kind, item["id"], resolve(item["host"]), item["port"], bytes.fromhex(item["ticket_key"]))


def _generation(item: dict[str, Any]) -> Generation:
    return Generation(item["key_id"], bytes.fromhex(item["crc_key"]), bytes.fromhex(item["p2p_key"]))
