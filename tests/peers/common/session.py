"""A session of asyncua's own client: its ways of doing things are part of what is checked."""

import tempfile
from pathlib import Path

from asyncua import Client
from cryptography.hazmat.primitives import serialization

from . import plant as plants


class Session:
    def __init__(self, scene, locales=("en",)):
        self.scene, self.locales = scene, list(locales)

    async def __aenter__(self):
        self.client = Client(self.scene.url)
        self.client.set_user(plants.USER)
        self.client.set_password(plants.PASSWORD)
        self.client.set_locale(self.locales)
        identity = self.scene.connection.identity
        folder = Path(tempfile.mkdtemp())
        (folder / "certificate.der").write_bytes(identity.certificate)
        pem = identity.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        self.client.application_uri = identity.uri
        await self.client.set_security_string(f"Basic256Sha256,SignAndEncrypt,{folder}/certificate.der,{folder}/key.pem")
        await self.client.connect()
        return self.client

    async def __aexit__(self, *_):
        await self.client.disconnect()
