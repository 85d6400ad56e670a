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


class BadKey(ValueError):
    """A key or certificate that cannot sign; the text says why."""


class VconSigner:
    """Signs with a private key; `certificates` is its chain in PEM, its own one first."""

    def __init__(self, key: bytes, certificates: bytes) -> None:
        try:
            self._key = load_pem_private_key(key, password=None)
        except (ValueError, TypeError):
            raise BadKey(NO_KEY) from None
        try:
            chain = x509.load_pem_x509_certificates(certificates)
        except ValueError:
            raise BadKey(NO_CERTIFICATE) from None
        if chain[0].public_key() != self._key.public_key():
            raise BadKey(OTHER_KEY)
        self._algorithm = self._algorithm_of_key()
        # Not the URL-safe alphabet: RFC 7515, section 4.1.6.
        self._x5c = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]

    def __call__(self, vcon: str) -> str:
        """The signed form of an unsigned vCon."""
        compact = PyJWS().encode(
            vcon.encode(),
            self._key,
            algorithm=self._algorithm,
            headers={"typ": ""},  # type: ignore[arg-type]
        )
        protected, payload, signature = compact.split(".")
        # `alg` is in the protected header: RFC 7515 allows no name in both.
        header = {"x5c": self._x5c, "uuid": json.loads(vcon)["uuid"]}
        of_key = {"header": header, "protected": protected, "signature": signature}
        return json.dumps({"payload": payload, "signatures": [of_key]}) + "\n"

    def _algorithm_of_key(self) -> str:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return "RS256"
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return "EdDSA"
        if (
            isinstance(self._key, ec.EllipticCurvePrivateKey)
            and self._key.curve.name == "secp256r1"
        ):
            return "ES256"
        raise BadKey(UNUSABLE_KEY)
