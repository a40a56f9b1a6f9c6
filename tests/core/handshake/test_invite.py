"""Keys of a pair, transport parameters, both ends of the handshake. Known answers: vectors/invite.json."""

from helpers import load_json, raises, unhex

from upeer import connect
from upeer.base.errors import CryptoError, LocalError, ProtocolError
from upeer.crypto import x25519
from upeer.handshake import invite
from upeer.handshake import messages as handshake
from upeer.session.paths import HOST, RELAY, SRFLX

V = load_json("invite.json")
KEYS = {name: unhex(text) for name, text in V["keys"].items()}
H = {name: unhex(text) for name, text in V["handshake"].items()}
CLIENT_ID = unhex(V["client_id"])
BINDING = invite.prologue(V["key_id"], unhex(V["invite_id"]), V["did"], CLIENT_ID)


def pair_of(name):
    return H[name], x25519.public_key(H[name])


def client_params():
    params = handshake.Params(0x010203, 0x10000, 0x4000, 30)
    relay = (RELAY, ("198.51.100.1", 3478), unhex(V["relay_tag"]), unhex(V["relay"]["device_key"]))
    ticket = H["payload_1"][-96:]
    params.candidates = [(HOST, ("192.168.1.5", 5000)), (SRFLX, ("203.0.113.7", 20000)), relay + (ticket,)]
    return params


def device_params():
    params = handshake.Params(0xFFFEFD, 0x8000, 0x2000, 60)
    params.max_datagram = 1400
    params.max_burst = 6
    params.candidates = [(HOST, ("192.168.1.9", 40717))]
    return params


def initiator():
    return connect.Initiator(H["psk"], BINDING, pair_of("initiator_ephemeral"), client_params())


def responder(message, psk=None, binding=BINDING):
    return handshake.Responder(psk or H["psk"], binding, pair_of("responder_ephemeral"), message)


def test_keys_of_a_pair():
    assert invite.setup_key(connect.parse_setup_code(V["setup_code"]), V["did"]) == KEYS["setup_key"]
    assert invite.pair_key(KEYS["exporter"], V["did"], CLIENT_ID) == KEYS["next_pair_key"]
    assert invite.lookup_token(KEYS["pair_key"], V["epoch"]) == KEYS["lookup_token"]
    assert invite.lan_key(KEYS["pair_key"]) == KEYS["lan_key"]
    assert invite.session_psk(KEYS["pair_key"], KEYS["p2p_key"]) == KEYS["session_psk"]
    assert len(invite.SETUP_CLIENT_ID) == 8


def test_setup_code_is_read_as_people_type_it():
    code = connect.parse_setup_code("01AB-CDEF-10GH-JKMN")
    for text in ("01abcdef10ghjkmn", "oIAB-cdef-LOgh-jkmn", " 0 1 A B C D E F 1 0 G H J K M N "):
        assert connect.parse_setup_code(text) == code
    other = connect.parse_setup_code("01AB-CDEF-10GH-JKMP")
    keys = [invite.setup_key(*args) for args in ((code, V["did"]), (other, V["did"]), (code, "ABCD-123457-GHKLM"))]
    assert len(set(keys)) == 3


def test_setup_code_that_is_none_is_refused():
    for text in ("", "01AB-CDEF-10GH-JKM", "01AB-CDEF-10GH-JKMNP", "U1AB-CDEF-10GH-JKMN", "01AB_CDEF_10GH_JKMN"):
        raises(LocalError, connect.parse_setup_code, text)
    raises(LocalError, invite.setup_key, bytes(10), V["did"])  # an all-zero key


def test_absent_and_zero_keys_are_faults():
    for key in (None, b"", bytes(32), b"short"):
        raises(LocalError, invite.pair_key, key, V["did"], CLIENT_ID)
        raises(LocalError, invite.lookup_token, key, 1)
        raises(LocalError, invite.lan_key, key)
        raises(LocalError, invite.session_psk, key, KEYS["p2p_key"])
        raises(LocalError, handshake.Responder, key, BINDING, pair_of("responder_ephemeral"), H["message_1"])


def test_params_encode_as_in_the_vectors():
    assert client_params().encode() == H["payload_1"]
    assert device_params().encode() == H["payload_2"]
    parsed = handshake.parse_params(H["payload_1"])
    assert parsed.candidates == client_params().candidates
    assert (parsed.status, parsed.connection_id, parsed.max_datagram) == (0, 0x010203, 1200)
    assert (parsed.max_data, parsed.max_channel_data, parsed.idle_timeout_s) == (0x10000, 0x4000, 30)
    assert (parsed.max_burst, handshake.parse_params(H["payload_2"]).max_burst) == (0, 6)


def test_params_of_every_wrong_length_are_refused():
    for size in range(len(H["payload_1"])):
        raises(ProtocolError, handshake.parse_params, H["payload_1"][:size])
    raises(ProtocolError, handshake.parse_params, H["payload_1"] + b"\0")


def test_params_out_of_range_are_refused_and_large_limits_cut():
    good = "00 010203 04b0 ffffffff ffffffff 001e 06 00"
    assert handshake.parse_params(unhex(good)).max_data == 0x3FFFFFFF
    raises(ProtocolError, handshake.parse_params, unhex(good.replace("04b0", "04af")))
    raises(ProtocolError, handshake.parse_params, unhex(good.replace("001e", "0000")))
    raises(ProtocolError, handshake.parse_params, unhex(good[:-2] + "01 04 01020304 0001"))
    raises(ProtocolError, handshake.parse_params, unhex(good[:-2] + "11") + unhex("00 01020304 0001") * 17)


def test_candidates_that_nobody_can_have_are_left_out():
    text = "00 010203 04b0 00010000 00004000 001e 00 05"
    for address in ("00000000 0001", "e0000001 0001", "ffffffff 0001", "0a000001 0000", "0a000001 0001"):
        text += " 00 " + address
    assert handshake.parse_params(unhex(text)).candidates == [(HOST, ("10.0.0.1", 1))]


def test_initiator_and_responder_give_the_known_answers():
    client = initiator()
    assert client.message == H["message_1"]
    device = responder(client.message)
    assert device.peer.candidates == client.params.candidates
    shared = x25519.shared_secret(device.private, device.peer_public)
    assert device.answer(device_params(), shared) == H["message_2"]
    device.make_keys()
    client.read_answer(H["message_2"])
    assert client.peer.connection_id == 0xFFFEFD
    assert client.seal_key == device.open_key == H["client_key"]
    assert client.open_key == device.seal_key == H["device_key"]
    assert client.exporter == device.exporter == H["export"]


def test_a_message_1_that_is_not_authentic_dies_before_any_curve_work():
    calls = []
    real = x25519.shared_secret
    # Our own key pairs, made with BASE on MicroPython, do not count.
    x25519.shared_secret = lambda ours, theirs: (theirs != x25519.BASE and calls.append(theirs)) or real(ours, theirs)
    try:
        message = H["message_1"]
        for wrong in (message[:-1] + bytes((message[-1] ^ 1,)), message[1:], message[:31], b"", bytes(80)):
            raises(CryptoError, responder, wrong)
        raises(CryptoError, responder, message, KEYS["pair_key"])
        for other in (
            invite.prologue(8, unhex(V["invite_id"]), V["did"], CLIENT_ID),
            invite.prologue(V["key_id"], bytes(8), V["did"], CLIENT_ID),
            invite.prologue(V["key_id"], unhex(V["invite_id"]), "ABCD-123457-GHKLM", CLIENT_ID),
            invite.prologue(V["key_id"], unhex(V["invite_id"]), V["did"], bytes(8)),
        ):
            raises(CryptoError, responder, message, None, other)
        responder(message)
        assert not calls
    finally:
        x25519.shared_secret = real


def test_a_forged_answer_does_not_spoil_the_real_one():
    client = initiator()
    forged = bytearray(H["message_2"])
    forged[40] ^= 1
    for wrong in (bytes(forged), b"", bytes(100), H["message_2"][:-1]):
        raises(ProtocolError, client.read_answer, wrong)
    assert client.seal_key is None
    client.read_answer(H["message_2"])
    assert client.seal_key == H["client_key"]
