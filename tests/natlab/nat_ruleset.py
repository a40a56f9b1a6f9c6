"""nftables rulesets that make one Linux namespace behave as a NAT of a given kind.

Linux conntrack alone maps per 5-tuple and prefers to keep the source port, which is no NAT kind in particular. Here:
- endpoint-independent mapping: map `eim` gives each inner (address, port) one external port; they are counted up, so
  that none is given twice;
- `inner` is its reverse, filled as packets leave, and serves the DNAT of packets that no conntrack entry claims;
- `contacted` remembers whom each inner socket wrote to; the last chain filters new inbound flows by it, after both
  translations, so that hairpinned packets are judged by their external source like any other;
- whatever is refused is dropped before conntrack confirms it, so that it cannot block the port of a later mapping.
"""

import nat_kinds as kinds

_TIMEOUT_S = 120

# numgen counts in host byte order and ports are in network order: "+1" needs a table (which sets do not take as data).
_NEXT_PORT = "numgen inc mod 2000 map { " + ", ".join(f"{n} : {40000 + n}" for n in range(2000)) + " }"

_SYMMETRIC = """
table ip nat {{
  chain post {{ type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" meta l4proto udp {udp_snat}
    oifname "wan" masquerade
  }}
  chain out {{ type filter hook postrouting priority 110; policy accept;
    oifname "lan" ct state new drop
  }}
  chain in {{ type filter hook input priority 0; policy accept;
    meta l4proto udp drop
  }}
}}
"""

_CONE = r"""
table ip nat {{
  map eim {{ type ipv4_addr . inet_service : inet_service; flags dynamic,timeout; timeout {timeout}s; size 8192; }}
  map inner {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout {timeout}s; size 8192; }}
  set contacted {{ type ipv4_addr . inet_service . ipv4_addr . inet_service;
    flags dynamic,timeout; timeout {timeout}s; size 65535; }}
  set contacted_hosts {{ type ipv4_addr . inet_service . ipv4_addr;
    flags dynamic,timeout; timeout {timeout}s; size 65535; }}
  chain see {{ type filter hook prerouting priority -110; policy accept;
    iifname "lan" update @eim {{ ip saddr . udp sport : numgen inc mod 30000 offset 30000 }}
    iifname "lan" update @contacted {{ ip saddr . udp sport . ip daddr . udp dport }}
    iifname "lan" update @contacted_hosts {{ ip saddr . udp sport . ip daddr }}
  }}
  chain pre {{ type nat hook prerouting priority dstnat; policy accept;
    iifname {{ {dnat_from} }} ip daddr {wan_ip} meta l4proto udp dnat ip to udp dport map @inner
  }}
  chain post {{ type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" meta l4proto udp snat ip to {wan_ip} : ip saddr . udp sport map @eim
    ip saddr 192.168.0.0/16 oifname "lan" ct status dnat meta l4proto udp \
      snat ip to {wan_ip} : ip saddr . udp sport map @eim
    oifname "wan" masquerade
  }}
  chain out {{ type filter hook postrouting priority 110; policy accept;
    ip saddr {wan_ip} ct direction original update @inner {{ udp sport : ct original ip saddr . ct original proto-src }}
    ip saddr {wan_ip} ct direction reply update @inner {{ udp sport : ct reply ip saddr . ct reply proto-src }}
    oifname "lan" ct state new {accept}
    oifname "lan" ct state new drop
  }}
  chain in {{ type filter hook input priority 0; policy accept;
    meta l4proto udp drop
  }}
}}
"""

_ACCEPT = {
    kinds.FULL_CONE: "meta l4proto udp accept",
    kinds.ADDRESS_RESTRICTED: "ip daddr . udp dport . ip saddr @contacted_hosts accept",
    kinds.PORT_RESTRICTED: "ip daddr . udp dport . ip saddr . udp sport @contacted accept",
}

_UDP_SNAT = {
    kinds.SYMMETRIC: "masquerade random,fully-random",
    kinds.SEQUENTIAL: "snat ip to {wan_ip} : {port}",
}


def nat_ruleset(kind: str, wan_ip: str, hairpin: bool) -> str:
    """Return the nft script for a NAT of this kind at `wan_ip`; an open side routes and gets an empty script."""
    if kind == kinds.OPEN:
        return ""
    if kinds.maps_per_destination(kind):
        return _SYMMETRIC.format(udp_snat=_UDP_SNAT[kind].format(wan_ip=wan_ip, port=_NEXT_PORT))
    dnat_from = '"wan", "lan"' if hairpin else '"wan"'
    return _CONE.format(timeout=_TIMEOUT_S, wan_ip=wan_ip, dnat_from=dnat_from, accept=_ACCEPT[kind])


def forget_script(kind: str) -> str:
    """Return the nft script that empties the mapping tables of a NAT of this kind."""
    if kind == kinds.OPEN or kinds.maps_per_destination(kind):
        return ""
    tables = ("map ip nat eim", "map ip nat inner", "set ip nat contacted", "set ip nat contacted_hosts")
    return "".join(f"flush {table}\n" for table in tables)


KNOBS = """
table ip knobs {
  chain forward { type filter hook forward priority 0; policy accept; }
}
"""
