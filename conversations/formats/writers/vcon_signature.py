"""The signed form of a vCon: JWS in the general JSON serialization (RFC 7515, section 7.2.1), with
the chain of certificates in the unprotected header, as draft-ietf-vcon-vcon-core-04 requires."""

from __future__ import annotations

import base64
import json

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from jwt.api_jws import PyJWS

NO_KEY = "Not a private key in PEM without a password."
NO_CERTIFICATE = "Not a certificate in PEM."
OTHER_KEY = "The first certificate is of another key."
UNUSABLE_KEY = "The key must be RSA, EC with the curve P-256, or Ed25519."


_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class BadKey(ValueError):
    """A key or certificate that cannot sign; the text says why."""


class VconSigner:
    """Signs with a private key; `certificates` is its chain in PEM, its own one first."""

    def __init__(self, key: bytes, certificates: bytes) -> None:
        self._key, self._algorithm = _loaded(key)
        try:
            chain = x509.load_pem_x509_certificates(certificates)
        except ValueError:
            raise BadKey(NO_CERTIFICATE) from None
        if chain[0].public_key() != self._key.public_key():
            raise BadKey(OTHER_KEY)
        # Not the URL-safe alphabet: RFC 7515, section 4.1.6.
        self._x5c = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]

    def __call__(self, vcon: str) -> str:
        """The signed form of an unsigned vCon."""
        compact = PyJWS().encode(
            vcon.encode(),
            self._key,
            algorithm=self._algorithm,
            headers={"typ": ""},
        )
        protected, payload, signature = compact.split(".")
        # `alg` is in the protected header: RFC 7515 allows no name in both.
        header = {"x5c": self._x5c, "uuid": json.loads(vcon)["uuid"]}
        of_key = {"header": header, "protected": protected, "signature": signature}
        return json.dumps({"payload": payload, "signatures": [of_key]}) + "\n"


def _loaded(key: bytes) -> tuple[_Key, str]:
    """The private key, and the name of its algorithm."""
    try:
        loaded = load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise BadKey(NO_KEY) from None
    if isinstance(loaded, rsa.RSAPrivateKey):
        return loaded, "RS256"
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return loaded, "EdDSA"
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name == "secp256r1":
        return loaded, "ES256"
    raise BadKey(UNUSABLE_KEY)
