"""A Kerberos ticket and a SAML assertion as they are on the wire."""

from __future__ import annotations


def der(tag: int, *content: bytes) -> bytes:
    """A value with its tag and length."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def principal(*components: str) -> bytes:
    names = der(0x30, *(der(0x1B, component.encode()) for component in components))
    return der(0x30, der(0xA0, der(0x02, b"\x02")), der(0xA1, names))


def ticket(
    *, version: int = 5, etype: bytes = b"\x12", kvno: bytes = b"\x03", realm: str = "EXAMPLE.ORG"
) -> bytes:
    key_version = der(0xA1, der(0x02, kvno)) if kvno else b""
    encrypted = der(0x30, der(0xA0, der(0x02, etype)), key_version, der(0xA2, der(0x04, bytes(200))))
    fields = (
        der(0xA0, der(0x02, bytes([version]))),
        der(0xA1, der(0x1B, realm.encode())),
        der(0xA2, principal("dicom", "pacs.example.org")),
        der(0xA3, encrypted),
    )
    return der(0x61, der(0x30, *fields))


def ap_req(inner: bytes, *, message_type: int = 14) -> bytes:
    authenticator = der(0x30, der(0xA0, der(0x02, b"\x12")), der(0xA2, der(0x04, bytes(100))))
    fields = (
        der(0xA0, der(0x02, b"\x05")),
        der(0xA1, der(0x02, bytes([message_type]))),
        der(0xA2, der(0x03, bytes(5))),
        der(0xA3, inner),
        der(0xA4, authenticator),
    )
    return der(0x6E, der(0x30, *fields))


def gss_api(inner: bytes, *, mechanism: str = "2a864886f712010202") -> bytes:
    return der(0x60, der(0x06, bytes.fromhex(mechanism)), b"\x01\x00", inner)


TICKET = ticket()
AP_REQ = ap_req(TICKET)
GSS_API = gss_api(AP_REQ)

ASSERTION = b"""<?xml version="1.0" encoding="UTF-8"?>
<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_1" Version="2.0"
    IssueInstant="2026-01-02T03:04:05Z">
  <saml:Issuer>https://idp.example.org</saml:Issuer>
  <saml:Subject>
    <saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">carla</saml:NameID>
    <saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"/>
  </saml:Subject>
  <saml:Conditions NotBefore="2026-01-02T03:04:05Z" NotOnOrAfter="2026-01-02T03:14:05Z">
    <saml:AudienceRestriction>
      <saml:Audience>urn:pacs</saml:Audience>
      <saml:Audience>urn:ris</saml:Audience>
    </saml:AudienceRestriction>
  </saml:Conditions>
</saml:Assertion>
"""
