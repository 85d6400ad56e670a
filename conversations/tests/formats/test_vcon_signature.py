"""Signed vCons: verified without the code that signs them."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from conversations.formats.writers.vcon_signature import BadKey, VconSigner
from conversations.tests.formats.test_more_writers import KEY
from conversations.tests.formats.test_writers import chat, message, written

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "records.example")])


def pem(key, encryption=None):
    encryption = encryption or NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def certificate(key):
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(algorithm, key, signature, signed):
    if algorithm == "RS256":
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    elif algorithm == "EdDSA":
        key.verify(signature, signed)
    else:
        halves = (int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        key.verify(encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))


KEYS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_signed_vcon_is_verified_by_its_certificate(algorithm):
    key = KEYS[algorithm]()
    unsigned = written("vcon", chat(message(1, "user", "Grüße"), id=KEY))
    signed = json.loads(VconSigner(pem(key), certificate(key))(unsigned))
    assert set(signed) == {"payload", "signatures"}
    assert decoded(signed["payload"]).decode() == unsigned
    (one,) = signed["signatures"]
    assert set(one) == {"header", "protected", "signature"}
    assert json.loads(decoded(one["protected"])) == {"alg": algorithm}
    assert one["header"]["uuid"] == KEY
    (der,) = one["header"]["x5c"]
    public = x509.load_der_x509_certificate(base64.b64decode(der)).public_key()
    text = f"{one['protected']}.{signed['payload']}".encode()
    verify(algorithm, public, decoded(one["signature"]), text)
    with pytest.raises(InvalidSignature):
        verify(algorithm, public, decoded(one["signature"]), text + b"x")


@pytest.mark.parametrize(
    ("key", "chain", "reason"),
    [
        (b"no key", None, "private key"),
        (pem(KEYS["EdDSA"](), BestAvailableEncryption(b"x")), None, "without a password"),
        (None, b"none", "certificate"),
        (None, certificate(KEYS["EdDSA"]()), "of another key"),
    ],
)
def test_a_key_that_cannot_sign_is_refused(key, chain, reason):
    own = KEYS["EdDSA"]()
    with pytest.raises(BadKey, match=reason):
        VconSigner(key or pem(own), chain or certificate(own))


def test_a_curve_that_jws_does_not_name_is_refused():
    key = ec.generate_private_key(ec.SECP521R1())
    with pytest.raises(BadKey, match="P-256"):
        VconSigner(pem(key), certificate(key))
