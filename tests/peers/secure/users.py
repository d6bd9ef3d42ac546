"""Users: passwords, how wrong ones are answered, and X.509 users."""

import asyncio
import os
import time

from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from common import plant as plants
from common.certificates import DAY, Authority, Identity
from common.check import check, expect
from common.client import OWN, Connection, status_of

# The standard has one for a token that is wrong in form, one for a user who is not let in (OPC 10000-4, 5.7.3.3).
DENIED = ("BadUserAccessDenied", "BadIdentityTokenRejected", "BadIdentityTokenInvalid")
STATE = ua.NodeId(2259, 0)


async def login(s, user, password, **options):
    """What a login says: Good or why not."""
    plant = await s.plant()
    async with await Connection(plant.url, **options).channel() as one:
        await one.create()
        return await status_of(one.activate(user, password))


async def activate(one, token, signature=None):
    """ActivateSession with a user token of the check's own making."""
    params = ua.ActivateSessionParameters()
    policy = one.client.security_policy
    params.ClientSignature.Algorithm = policy.AsymmetricSignatureURI
    params.ClientSignature.Signature = policy.asymmetric_cryptography.signature(policy.peer_certificate + one.client._server_nonce)
    params.UserIdentityToken = token
    if signature is not None:
        params.UserTokenSignature = signature
    request = ua.ActivateSessionRequest()
    request.Parameters = params
    return await status_of(one.send(request))


@check("users", "a wrong password is refused", "OPC 10000-4, 5.7.3.3")
async def wrong_password(s):
    said = await login(s, plants.USER, "wrong")
    expect(said in DENIED, said)


@check("users", "an unknown user and a wrong password get the same answer", "OPC 10000-4, 5.7.3.3")
async def unknown_user(s):
    said = [await login(s, plants.USER, "wrong"), await login(s, "nobody", "wrong")]
    expect(said[0] in DENIED and said[0] == said[1], said)


@check("users", "empty passwords, names and tokens are refused", "OPC 10000-4, 7.41")
async def empty_password(s):
    plant = await s.plant()
    for user, password in ((plants.USER, b""), (plants.USER, None), ("", plants.PASSWORD.encode()), (None, None)):
        async with await Connection(plant.url).channel() as one:
            await one.create()
            policy = one.client.server_policy(ua.UserTokenType.UserName)
            data, uri = one.client._encrypt_password((password or b"").decode(), policy.SecurityPolicyUri)
            said = await activate(one, ua.UserNameIdentityToken(PolicyId=policy.PolicyId, UserName=user, Password=data if password is not None else None, EncryptionAlgorithm=uri))
            expect(said in (*DENIED, "BadSecurityChecksFailed"), user, password, said)


@check("users", "a password of 60 kB is refused, and the next login is served", "OPC 10000-4, 7.41")
async def huge_password(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        await one.create()
        policy = one.client.server_policy(ua.UserTokenType.UserName)
        secret = b"x" * 60_000 + one.client._server_nonce
        secret = len(secret).to_bytes(4, "little") + secret
        key = x509.load_der_x509_certificate(one.client.security_policy.peer_certificate).public_key()
        sha1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        block = key.key_size // 8 - 42
        data = b"".join(key.encrypt(secret[at : at + block], sha1) for at in range(0, len(secret), block))
        algorithm = "http://www.w3.org/2001/04/xmlenc#rsa-oaep"
        said = await activate(one, ua.UserNameIdentityToken(PolicyId=policy.PolicyId, UserName=plants.USER, Password=data, EncryptionAlgorithm=algorithm))
    expect(said in DENIED or said in ("BadSecurityChecksFailed", "BadDecodingError", "BadRequestTooLarge") or said.startswith(("closed", "no answer")), said)
    expect(await login(s, plants.USER, plants.PASSWORD) == "Good", "the right one afterwards")


@check("users", "a password in clear is refused on every channel, also an encrypted one", "OPC 10000-4, 7.41.4")
async def clear_password(s):
    plant = await s.plant()
    for mode in ("Sign", "SignAndEncrypt"):
        for algorithm in (None, "", "http://opcfoundation.org/UA/SecurityPolicy#None"):
            async with await Connection(plant.url, mode=mode).channel() as one:
                await one.create()
                policy = one.client.server_policy(ua.UserTokenType.UserName)
                token = ua.UserNameIdentityToken(PolicyId=policy.PolicyId, UserName=plants.USER, Password=plants.PASSWORD.encode(), EncryptionAlgorithm=algorithm)
                said = await activate(one, token)
                expect(said in (*DENIED, "BadSecurityChecksFailed"), mode, algorithm, said)


@check("users", "a password encrypted for an older nonce is refused", "OPC 10000-4, 7.41.2")
async def repeated_password(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        await one.create()
        policy = one.client.server_policy(ua.UserTokenType.UserName)
        data, uri = one.client._encrypt_password(plants.PASSWORD, policy.SecurityPolicyUri)
    async with await Connection(plant.url).channel() as other:
        await other.create()
        said = await activate(other, ua.UserNameIdentityToken(PolicyId=policy.PolicyId, UserName=plants.USER, Password=data, EncryptionAlgorithm=uri))
        expect(said in (*DENIED, "BadSecurityChecksFailed"), said)


@check("users", "garbage in place of an encrypted password is refused", "OPC 10000-4, 7.41.2")
async def garbage_password(s):
    plant = await s.plant()
    for data in (os.urandom(256), os.urandom(255), b"x", os.urandom(2048)):
        async with await Connection(plant.url).channel() as one:
            await one.create()
            policy = one.client.server_policy(ua.UserTokenType.UserName)
            _, uri = one.client._encrypt_password("x", policy.SecurityPolicyUri)
            said = await activate(one, ua.UserNameIdentityToken(PolicyId=policy.PolicyId, UserName=plants.USER, Password=data, EncryptionAlgorithm=uri))
            expect(said in (*DENIED, "BadSecurityChecksFailed"), len(data), said)


@check("users", "a PolicyId that was not offered is BadIdentityTokenInvalid", "OPC 10000-4, 5.7.3.3")
async def unknown_policy_id(s):
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        await one.create()
        policy = one.client.server_policy(ua.UserTokenType.UserName)
        data, uri = one.client._encrypt_password(plants.PASSWORD, policy.SecurityPolicyUri)
        said = await activate(one, ua.UserNameIdentityToken(PolicyId="nonsense", UserName=plants.USER, Password=data, EncryptionAlgorithm=uri))
        expect(said in DENIED, said)


@check("users", "anonymous and no token at all are refused where anonymous is not offered", "OPC 10000-4, 5.7.3.2")
async def anonymous_refused(s):
    plant = await s.plant()
    for token in (ua.AnonymousIdentityToken(PolicyId="anonymous"), ua.AnonymousIdentityToken(PolicyId="0"), ua.ExtensionObject()):
        async with await Connection(plant.url).channel() as one:
            await one.create()
            said = await activate(one, token)
            expect(said in (*DENIED, "BadSecurityChecksFailed"), token, said)


@check("users", "a session can change its user by ActivateSession, and a refused change leaves it as it was", "OPC 10000-4, 5.7.3.1")
async def change_of_user(s):
    async with await s.session() as one:
        await one.activate(plants.SECOND_USER, plants.SECOND_PASSWORD)
        expect((await one.read([STATE]))[0].Value.Value == 0, "after the change")
        said = await status_of(one.activate(plants.USER, "wrong"))
        expect(said in DENIED, said)


@check("users", "wrong passwords in a row are slowed down, another user is not kept out by them", "issue: failed logins slowed per user and address")
async def slowed(s):
    took = []
    for number in range(6):
        started = time.monotonic()
        await login(s, "slow", f"wrong {number}")
        took.append(time.monotonic() - started)
    started = time.monotonic()
    expect(await login(s, plants.SECOND_USER, plants.SECOND_PASSWORD) == "Good", "another user is kept out")
    other = time.monotonic() - started
    expect(max(took[3:]) > took[0] + 0.3, "seconds of six wrong logins:", [round(one, 2) for one in took])
    expect(other < 15, "another user took", other)


async def certificate_login(s, user, key=None, algorithm=None, signature=None):
    """A login with a certificate; `signature` in place of the right one."""
    plant = await s.plant()
    async with await Connection(plant.url).channel() as one:
        created = await one.create()
        offered = [policy for policy in one.client._policy_ids if policy.TokenType == ua.UserTokenType.Certificate]
        expect(created and offered, "X.509 users are not offered")
        if signature is not None:
            token = ua.X509IdentityToken(PolicyId=offered[0].PolicyId, CertificateData=user.certificate)
            return await activate(one, token, ua.SignatureData(Algorithm=algorithm or one.client.security_policy.AsymmetricSignatureURI, Signature=signature))
        one.client.user_certificate_chain = [x509.load_der_x509_certificate(der) for der in user.chain]
        said = await status_of(one.activate(certificate=user.certificate, key=key or user.key))
        if said == "Good":
            expect((await one.read([STATE]))[0].Value.Value == 0, "Read")
        return said


async def until(s, wanted, user, **options):
    """Trust lists are read without a restart, but need not be at once."""
    end = time.monotonic() + 15
    while (said := await certificate_login(s, user, **options)) not in wanted:
        expect(time.monotonic() < end, "expected", wanted, "but", said)
        await asyncio.sleep(0.3)
    return said


@check("users", "an unknown user certificate is refused", "OPC 10000-4, 7.41.5")
async def x509_untrusted(s):
    said = await certificate_login(s, Identity.user("Unknown user", role="unknown user"))
    expect(said in DENIED, said)


@check("users", "a self-signed user certificate among the trusted is let in, and removed again refused", "OPC 10000-12, 7.8.2; OPC 10000-4, 7.41.5")
async def x509_trusted(s):
    plant, user = await s.plant(), Identity.user("Trusted user")
    plant.put("users_trusted", "user", user.certificate)
    await until(s, ["Good"], user)
    plant.remove("users_trusted", "user")
    await until(s, DENIED, user)


@check("users", "a trusted user certificate with a wrong or without a signature is refused", "OPC 10000-4, 5.7.3.3")
async def x509_wrong_key(s):
    plant, user = await s.plant(), Identity.user("Signing user", role="signing user")
    plant.put("users_trusted", "signing", user.certificate)
    await until(s, ["Good"], user)
    other = Identity.user("Other key", role="other user key")
    said = [await certificate_login(s, user, key=other.key), await certificate_login(s, user, signature=bytes(256)), await certificate_login(s, user, signature=b"")]
    plant.remove("users_trusted", "signing")
    expect(all(one in (*DENIED, "BadUserSignatureInvalid", "BadSecurityChecksFailed") for one in said), said)


@check("users", "an expired user certificate is refused, trusted or not", "OPC 10000-4, 6.1.3")
async def x509_expired(s):
    plant, user = await s.plant(), Identity.user("Expired user", role="expired user", start=-20 * DAY, days=10)
    good = Identity.user("Marker", role="marker")
    plant.put("users_trusted", "expired", user.certificate)
    plant.put("users_trusted", "marker", good.certificate)
    await until(s, ["Good"], good)
    said = await certificate_login(s, user)
    for one in ("expired", "marker"):
        plant.remove("users_trusted", one)
    expect(said in (*DENIED, "BadCertificateTimeInvalid"), said)


@check("users", "a user certificate of a trusted authority is let in; revoked it is refused", "OPC 10000-4, 6.1.3")
async def x509_of_an_authority(s):
    plant = await s.plant()
    authority = Authority("User authority")
    one, revoked = Identity.user("Anna", "anna", authority), Identity.user("Bert", "bert", authority)
    plant.put("users_trusted", "authority", authority.der)
    plant.put_crl("users_trusted", "authority", authority.crl(revoked.certificate))
    await until(s, ["Good"], one)
    said = await certificate_login(s, revoked)
    plant.remove("users_trusted", "authority")
    expect(said in (*DENIED, "BadCertificateRevoked"), said)


@check("users", "a user certificate whose authority is known as an issuer only is refused", "OPC 10000-4, 6.1.3")
async def x509_of_an_issuer(s):
    plant = await s.plant()
    authority = Authority("User issuer")
    one = Identity.user("Carl", "carl", authority)
    plant.put("users_issuers", "issuer", authority.der)
    plant.put_crl("users_issuers", "issuer", authority.crl())
    good = Identity.user("Marker two", role="marker two")
    plant.put("users_trusted", "marker", good.certificate)
    await until(s, ["Good"], good)
    said = await certificate_login(s, one)
    plant.remove("users_trusted", "marker")
    plant.remove("users_issuers", "issuer")
    expect(said in DENIED, said)


@check("users", "a trusted application certificate is no user", "OPC 10000-4, 7.41.5")
async def x509_application_certificate(s):
    await s.plant()
    said = await certificate_login(s, OWN)
    expect(said in DENIED, said)
