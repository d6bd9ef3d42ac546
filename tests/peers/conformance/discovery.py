"""Discovery: GetEndpoints, FindServers, and what the server's certificate says."""

import datetime
import socket
from urllib.parse import urlparse

from asyncua import Client, ua
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.check import check, expect
from common.client import Connection, name, status_of

BINARY = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"


async def discovery(s, service, **parameters):
    """A service on an unsecured channel without a session."""
    async with await Connection(s.url, policy=None).channel() as one:
        return await one.service(service, EndpointUrl=s.url, **parameters)


async def certificate(s):
    found = await s.endpoints()
    der = next(one.ServerCertificate for one in found if one.ServerCertificate)
    return x509.load_der_x509_certificate(der[: int.from_bytes(der[2:4], "big") + 4])


@check("discovery", "GetEndpoints without a session answers with endpoints", "OPC 10000-4, 5.5.4.1")
async def endpoints_without_session(s):
    found = await s.endpoints()
    expect(found, "no endpoint")
    return f"{len(found)} endpoints"


@check("discovery", "GetEndpoints on a secure channel needs no session", "OPC 10000-4, 5.5.4.1")
async def endpoints_on_a_secure_channel(s):
    async with await Connection(s.url).channel() as one:
        found = (await one.service("GetEndpoints", EndpointUrl=s.url)).Endpoints
        expect(found, "no endpoint")


@check("discovery", "no two endpoints have the same URL, policy and mode", "OPC 10000-4, 5.5.4.2")
async def endpoints_unique(s):
    found = [(one.EndpointUrl, one.SecurityPolicyUri, one.SecurityMode, one.TransportProfileUri) for one in await s.endpoints()]
    expect(len(found) == len(set(found)), found)


@check("discovery", "an EndpointUrl is opc.tcp with the host that the client asked for", "OPC 10000-4, 5.5.4.2")
async def endpoint_urls(s):
    asked = urlparse(s.url)
    for one in await s.endpoints():
        url = urlparse(one.EndpointUrl)
        expect(url.scheme == "opc.tcp" and url.port == asked.port and url.hostname, one.EndpointUrl)
        socket.create_connection((url.hostname, url.port), 5).close()


@check("discovery", "a client that asks by the name localhost gets URLs that it can use", "OPC 10000-4, 5.5.4.2")
async def endpoint_url_of_another_name(s):
    url = s.url.replace("127.0.0.1", "localhost")
    async with await Connection(s.url, policy=None).channel() as one:
        found = (await one.service("GetEndpoints", EndpointUrl=url)).Endpoints
    expect(found, "no endpoint for", url)
    for one in found:
        host = urlparse(one.EndpointUrl)
        socket.create_connection((host.hostname, host.port), 5).close()


@check("discovery", "PolicyIds are unique in an endpoint and not empty", "OPC 10000-4, 7.41")
async def policy_ids_unique(s):
    for one in await s.endpoints():
        ids = [token.PolicyId for token in one.UserIdentityTokens]
        expect(all(ids) and len(ids) == len(set(ids)), ids)


@check("discovery", "the transport profile is UA-TCP UA-SC UA-Binary", "OPC 10000-7, 6.6.162")
async def transport_profile(s):
    found = {one.TransportProfileUri for one in await s.endpoints()}
    expect(found == {BINARY}, found)


@check("discovery", "None has the lowest SecurityLevel, SignAndEncrypt no lower one than Sign of its policy", "OPC 10000-4, 7.14")
async def security_levels(s):
    found = await s.endpoints()
    levels = {(one.SecurityPolicyUri, one.SecurityMode): one.SecurityLevel for one in found}
    for (policy, mode), level in levels.items():
        if mode == ua.MessageSecurityMode.None_:
            expect(all(level < other for (_, kind), other in levels.items() if kind != mode), "None has", level, "of", sorted(levels.values()))
        other = levels.get((policy, ua.MessageSecurityMode.Sign))
        if mode == ua.MessageSecurityMode.SignAndEncrypt and other is not None:
            expect(level >= other, policy, level, other)
    return sorted(levels.values())


@check("discovery", "a transport profile that is not served gives an empty list", "OPC 10000-4, 5.5.4.2")
async def unknown_transport_profile(s):
    profile = "http://opcfoundation.org/UA-Profile/Transport/https-uajson"
    found = (await discovery(s, "GetEndpoints", ProfileUris=[profile])).Endpoints
    expect(not found, len(found or []), "endpoints")


@check("discovery", "the transport profile that is served gives all endpoints", "OPC 10000-4, 5.5.4.2")
async def known_transport_profile(s):
    found = (await discovery(s, "GetEndpoints", ProfileUris=[BINARY])).Endpoints
    expect(len(found or []) == len(await s.endpoints()), len(found or []))


@check("discovery", "locales that the server lacks are no reason to refuse", "OPC 10000-4, 5.5.4.2")
async def unknown_locale(s):
    expect((await discovery(s, "GetEndpoints", LocaleIds=["xx-YY", "de"])).Endpoints, "no endpoint")
    expect((await discovery(s, "FindServers", LocaleIds=["xx-YY", "de"])).Servers, "no server")


@check("discovery", "CreateSession answers with the endpoints of GetEndpoints", "OPC 10000-4, 5.7.2.2")
async def endpoints_in_create_session(s):
    facts = lambda found: sorted((one.EndpointUrl, one.SecurityPolicyUri, one.SecurityMode.value, one.TransportProfileUri) for one in found)
    async with await Connection(s.url).channel() as one:
        created = await one.create()
    found = [one for one in await s.endpoints()]
    expect(facts(created.ServerEndpoints) == facts(found), facts(created.ServerEndpoints), "but GetEndpoints:", facts(found))


@check("discovery", "FindServers lists the server itself", "OPC 10000-4, 5.5.2.1")
async def find_servers_lists_itself(s):
    found = (await discovery(s, "FindServers")).Servers
    uri = await s.application_uri()
    own = [one for one in found if one.ApplicationUri == uri]
    expect(len(own) == 1, [one.ApplicationUri for one in found])
    expect(own[0].ApplicationType in (ua.ApplicationType.Server, ua.ApplicationType.ClientAndServer), own[0].ApplicationType)


@check("discovery", "FindServers gives discovery URLs, and they answer GetEndpoints", "OPC 10000-4, 7.2")
async def discovery_urls_answer(s):
    for one in (await discovery(s, "FindServers")).Servers:
        expect(one.DiscoveryUrls, "no DiscoveryUrls")
        for url in one.DiscoveryUrls:
            expect(await Client(url, timeout=20).connect_and_get_server_endpoints(), url)


@check("discovery", "FindServers with an unknown ServerUri gives an empty list", "OPC 10000-4, 5.5.2.2")
async def find_servers_unknown_uri(s):
    found = (await discovery(s, "FindServers", ServerUris=["urn:nobody:here"])).Servers
    expect(not found, [one.ApplicationUri for one in found or []])


@check("discovery", "FindServers with its own ServerUri gives the server", "OPC 10000-4, 5.5.2.2")
async def find_servers_own_uri(s):
    uri = await s.application_uri()
    found = (await discovery(s, "FindServers", ServerUris=[uri])).Servers
    expect([one.ApplicationUri for one in found or []] == [uri], found)


@check("discovery", "the application has a name, ApplicationUri and ProductUri", "OPC 10000-4, 7.2")
async def application_description(s):
    own = (await s.endpoints())[0].Server
    expect(own.ApplicationName.Text and own.ApplicationUri and own.ProductUri, own)


@check("discovery", "the application description is the same in all endpoints", "OPC 10000-4, 7.14")
async def one_application(s):
    found = {(one.Server.ApplicationUri, one.Server.ProductUri, one.Server.ApplicationType) for one in await s.endpoints()}
    expect(len(found) == 1, found)


@check("discovery", "every endpoint with security shows the server's certificate, all the same", "OPC 10000-4, 7.14")
async def certificate_in_endpoints(s):
    found = {bytes(one.ServerCertificate or b"") for one in await s.endpoints() if one.SecurityMode != ua.MessageSecurityMode.None_}
    expect(len(found) == 1 and found != {b""}, len(found), "certificates")


@check("discovery", "the certificate's URI is the ApplicationUri", "OPC 10000-6, 6.2.2")
async def certificate_uri(s):
    names = (await certificate(s)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = names.get_values_for_type(x509.UniformResourceIdentifier)
    expect(found == [await s.application_uri()], found)


@check("discovery", "the certificate has the host's name or address", "OPC 10000-6, 6.2.2")
async def certificate_host(s):
    names = (await certificate(s)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    expect(urlparse(s.url).hostname in found or "localhost" in found, found)


@check("discovery", "the certificate's RSA key has at least 2048 bits, its signature SHA-256 or better", "OPC 10000-7, 6.6.165")
async def certificate_key(s):
    found = await certificate(s)
    expect(found.public_key().key_size >= 2048, found.public_key().key_size)
    expect(found.signature_hash_algorithm.digest_size >= 32, found.signature_hash_algorithm.name)


@check("discovery", "the certificate is in its time", "OPC 10000-4, 6.1.3")
async def certificate_in_date(s):
    found, now = await certificate(s), datetime.datetime.now(datetime.timezone.utc)
    expect(found.not_valid_before_utc <= now < found.not_valid_after_utc, found.not_valid_before_utc, found.not_valid_after_utc)


@check("discovery", "the certificate may sign and encipher, and authenticate a server", "OPC 10000-6, 6.2.2")
async def certificate_usage(s):
    extensions = (await certificate(s)).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    wanted = [usage.digital_signature, usage.content_commitment, usage.key_encipherment, usage.data_encipherment]
    expect(all(wanted), "signature, nonRepudiation, keyEncipherment, dataEncipherment:", wanted)
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    expect(ExtendedKeyUsageOID.SERVER_AUTH in extended, list(extended))


@check("discovery", "a server is no discovery server: FindServersOnNetwork and RegisterServer are refused, and the channel stays", "OPC 10000-4, 5.5.1")
async def no_discovery_server(s):
    async with await Connection(s.url).channel() as one:
        for service in ("FindServersOnNetwork", "RegisterServer"):
            said = await status_of(one.service(service))
            expect(said in ("BadServiceUnsupported", "BadUserAccessDenied", "BadNotSupported"), service, said)
        expect((await one.service("GetEndpoints", EndpointUrl=s.url)).Endpoints, "the channel is gone")


@check("discovery", "an EndpointUrl of another host or none is answered all the same", "OPC 10000-4, 5.5.4.2")
async def foreign_endpoint_url(s):
    async with await Connection(s.url, policy=None).channel() as one:
        for url in ("opc.tcp://not.this.host:1/path", "", None):
            found = (await one.service("GetEndpoints", EndpointUrl=url)).Endpoints
            expect(found, "no endpoint for", url)
