"""STUN: RFC 5769's sample request and IPv4 response, and what is none."""

from helpers import raises, unhex

from upeer.base.errors import ProtocolError
from upeer.signalling import stun

TRANSACTION = unhex("b7e7a701 bc34d686 fa87dfae")
SAMPLE_REQUEST = unhex(
    "00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74"
    "00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020 00080014"
    "9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf"
)
SAMPLE_RESPONSE = unhex(
    "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220"
    "00200008 0001a147 e112a643 00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96"
)


def test_rfc5769_ipv4_response():
    message = stun.parse(SAMPLE_RESPONSE)
    assert message.kind == stun.BINDING_RESPONSE and message.transaction_id == TRANSACTION
    assert message.mapped == ("192.0.2.1", 32853) and message.has_fingerprint
    assert message.unknown == [0x0008]


def test_rfc5769_request():
    message = stun.parse(SAMPLE_REQUEST)
    assert message.kind == stun.BINDING_REQUEST and message.has_fingerprint and message.mapped is None
    assert message.unknown == [0x0024, 0x0006, 0x0008]


def test_request_and_response():
    request = stun.encode_request(TRANSACTION)
    assert request == unhex("00010000 2112a442") + TRANSACTION
    response = stun.encode_response(TRANSACTION, unhex("c0000201 8055"), False)
    assert response == unhex("0101000c 2112a442") + TRANSACTION + unhex("00200008 0001a147 e112a643")
    assert stun.parse(response).mapped == ("192.0.2.1", 32853)


def test_response_with_fingerprint_proves_itself():
    response = stun.encode_response(TRANSACTION, unhex("c0000201 8055"), True)
    assert len(response) == 40 and stun.parse(response).has_fingerprint
    damaged = bytearray(response)
    damaged[27] ^= 1
    raises(ProtocolError, stun.parse, damaged)


def test_malformed_is_refused():
    for end in range(len(SAMPLE_RESPONSE)):
        raises(ProtocolError, stun.parse, SAMPLE_RESPONSE[:end])
    raises(ProtocolError, stun.parse, SAMPLE_RESPONSE + bytes(4))
    raises(ProtocolError, stun.parse, b"\x40" + SAMPLE_RESPONSE[1:])
    raises(ProtocolError, stun.parse, SAMPLE_RESPONSE[:4] + bytes(4) + SAMPLE_RESPONSE[8:])
    raises(ProtocolError, stun.parse, unhex("00010004 2112a442") + TRANSACTION + unhex("80220001"))
    behind_fingerprint = bytearray(SAMPLE_RESPONSE + unhex("80220000"))
    behind_fingerprint[3] += 4
    raises(ProtocolError, stun.parse, behind_fingerprint)


def test_ipv6_address_is_passed_over():
    body = unhex("00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9")
    message = stun.parse(unhex("01010018 2112a442") + TRANSACTION + body)
    assert message.mapped is None
