"""The table: a row for each kind of operation, a letter for each of `WHO`.

+ done, - BadUserAccessDenied, h BadNodeIdUnknown (what is hidden is not there). A new kind of operation is a function and a row.
"""

from asyncua import ua

from common import plant as plants
from common.check import check, expect
from common.client import name, status_of

from .scene import WHO


def node(text):
    return ua.NodeId(text, 2)


SESSIONS = ua.NodeId(3707, 0)  # SessionDiagnosticsArray
IDENTITIES = ua.NodeId(16225, 0)  # of the role Operator
HIDDEN = plants.TEMPERATURE.replace("Status.Temperature", "Floats.Single")


async def read(one, text, attribute=ua.AttributeIds.Value):
    wanted = text if isinstance(text, ua.NodeId) else node(text)
    return name((await one.read([wanted], attribute))[0].StatusCode)


async def browse(one, text):
    return name((await one.browse(node(text))).StatusCode)


async def monitor(one, text):
    """CreateMonitoredItems in a subscription of its own."""
    made = await one.service("CreateSubscription", RequestedPublishingInterval=1000, RequestedLifetimeCount=100, RequestedMaxKeepAliveCount=10)
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor = ua.ReadValueId(NodeId=node(text), AttributeId=ua.AttributeIds.Value)
    item.MonitoringMode = ua.MonitoringMode.Reporting
    item.RequestedParameters = ua.MonitoringParameters(ClientHandle=1, SamplingInterval=1000, QueueSize=1)
    results = await one.service("CreateMonitoredItems", SubscriptionId=made.SubscriptionId, ItemsToCreate=[item])
    await one.service("DeleteSubscriptions", SubscriptionIds=[made.SubscriptionId])
    return name(results[0].StatusCode)


async def history(one, text):
    details = ua.ReadRawModifiedDetails()
    details.IsReadModified = False
    details.StartTime = ua.get_win_epoch()
    details.EndTime = ua.datetime.now(ua.timezone.utc)
    details.NumValuesPerNode = 1
    details.ReturnBounds = False
    request = ua.HistoryReadRequest()
    request.Parameters.HistoryReadDetails = details
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.ReleaseContinuationPoints = False
    request.Parameters.NodesToRead = [ua.HistoryReadValueId(NodeId=node(text))]
    return name((await one.send(request)).Results[0].StatusCode)


async def write(one, text, value, kind):
    return await one.write(node(text), value, kind)


async def call(one, at, method, *arguments):
    request = ua.CallMethodRequest(ObjectId=node(at), MethodId=node(method), InputArguments=list(arguments))
    return name((await one.service("Call", MethodsToCall=[request]))[0].StatusCode)


async def machine(one, method, *arguments):
    return await call(one, "Canvoy.Machine", f"Canvoy.Methods.Machine.{method}", *arguments)


async def force(one):
    return await machine(one, "Force", ua.Variant(node(plants.ANALOG), ua.VariantType.NodeId), ua.Variant(5.0), ua.Variant(1000.0))


async def enable(one, what):
    return await call(one, "Canvoy.Alarms.alarm:level", f"Canvoy.Alarms.alarm:level.{what}")


async def refuse_to_add(one):
    """AddIdentity of Operator: roles are the configuration's."""
    rule = ua.Variant(ua.IdentityMappingRuleType(ua.IdentityCriteriaType.UserName, "eve"), ua.VariantType.ExtensionObject)
    request = ua.CallMethodRequest(ObjectId=ua.NodeId(15680, 0), MethodId=ua.NodeId(15684, 0), InputArguments=[rule])
    return name((await one.service("Call", MethodsToCall=[request]))[0].StatusCode)


# What is written is there before: it changes nothing that another row needs.
ROWS = [
    # operation, who: scada guest observer shift-1 engineer admin, the function, a word of its audit line
    ("browse", "++++++", lambda one: browse(one, "m.Status"), None),
    ("browse-hidden", "h+h+++", lambda one: browse(one, "m.Floats"), None),
    ("read", "++++++", lambda one: read(one, plants.ANALOG, ua.AttributeIds.DisplayName), None),
    ("read-hidden", "h+h+++", lambda one: read(one, HIDDEN, ua.AttributeIds.DisplayName), None),
    ("subscribe", "++++++", lambda one: monitor(one, plants.ANALOG), None),
    ("subscribe-hidden", "h+h+++", lambda one: monitor(one, HIDDEN), None),
    ("history", "+++++-", lambda one: history(one, plants.ANALOG), plants.ANALOG),
    ("write", "---++-", lambda one: write(one, plants.RAMP, 10, ua.VariantType.Byte), plants.RAMP),
    ("write-elsewhere", "----+-", lambda one: write(one, plants.LEVEL, 50, ua.VariantType.UInt16), plants.LEVEL),
    ("arm", "---++-", lambda one: write(one, plants.ARMED, True, ua.VariantType.Boolean), plants.ARMED),
    ("force", "----+-", force, "Methods.Machine.Force"),
    ("release", "----+-", lambda one: machine(one, "ReleaseAll"), "Methods.Machine.ReleaseAll"),
    ("fallback", "----+-", lambda one: call(one, "m.Cycle", "Canvoy.Methods.m.Cycle.Fallback"), "Cycle.Fallback"),
    ("reset-fallback", "----+-", lambda one: call(one, "m.Cycle", "Canvoy.Methods.m.Cycle.ResetFallback"), "Cycle.ResetFallback"),
    ("alarm-disable", "----+-", lambda one: enable(one, "Disable"), "Disable"),
    ("alarm-enable", "----+-", lambda one: enable(one, "Enable"), "Enable"),
    ("diagnostics", "-----+", lambda one: read(one, SESSIONS), "i=3707"),
    ("role-set", "-----+", lambda one: read(one, IDENTITIES), "i=16225"),
    ("role-permissions", "-----+", lambda one: read(one, plants.ANALOG, ua.AttributeIds.RolePermissions), plants.ANALOG),
]
LETTERS = {"Good": "+", "GoodNoData": "+", "BadUserAccessDenied": "-", "BadNodeIdUnknown": "h"}
ROLE = {"scada": "Observer", "guest": "AuthenticatedUser", "observer": "Observer"}
ROLE |= {"shift-1": "Operator", "engineer": "Engineer", "admin": "SecurityAdmin"}


def row(operation, want, run, audited):
    async def each(s):
        found, said = "", []
        for who in WHO:
            status = await run(await s.session(who))
            found += LETTERS.get(status, "?")
            said.append(f"{who}: {status}")
        expect(found == want, f"{found}; " + ", ".join(said))
        if audited is None:
            return found
        # a line for each refused one, and for each change that was carried out
        missing = []
        for who, letter in zip(WHO, found):
            user = "anonymous" if who == "scada" else who
            words = ("user=" + user, "roles=" + ROLE[who], audited)
            lines = s.lines(*words) or s.lines(f'user="{user}"', *words[1:])
            refused = [line for line in lines if "refused" in line]
            if letter == "-" and not refused or letter == "+" and operation in CHANGES and len(lines) == len(refused):
                missing.append(who)
        expect(not missing, "no audit line for", missing, s.plant.log()[-1500:])
        return found

    each.__name__ = operation
    check("roles", f"{' '.join(WHO)}: {' '.join(want)}", "OPC 10000-18, 4.2; OPC 10000-3, 4.9")(each)


CHANGES = ["write", "write-elsewhere", "arm", "force", "release", "fallback", "reset-fallback", "alarm-disable", "alarm-enable"]


for one_row in ROWS:
    row(*one_row)


@check("roles", "who sees only a part does not find the rest by any way", "OPC 10000-3, 4.9.3")
async def hidden_everywhere(s):
    one = await s.session("observer")
    children = [reference.NodeId.Identifier for reference in await one.references(node("m"))]
    expect("m.Status" in children and "m.Floats" not in children, children)
    element = ua.RelativePathElement(ReferenceTypeId=ua.NodeId(), IncludeSubtypes=True, TargetName=ua.QualifiedName("Floats", 2))
    path = ua.BrowsePath(StartingNode=node("m"), RelativePath=ua.RelativePath([element]))
    said = (await one.service("TranslateBrowsePathsToNodeIds", BrowsePaths=[path]))[0]
    expect(name(said.StatusCode) == "BadNoMatch", name(said.StatusCode))
    said = await history(one, HIDDEN)
    expect(said == "BadNodeIdUnknown", said)
    expect(await write(one, HIDDEN, 1.0, ua.VariantType.Float) == "BadNodeIdUnknown", "write")


@check("roles", "UserAccessLevel, UserExecutable and UserRolePermissions say what is answered", "OPC 10000-3, 5.2.10, 5.6.2, 5.7")
async def attributes_tell_the_truth(s):
    writes = {"shift-1": (7, 5, False), "engineer": (7, 7, True), "observer": (5, 5, False), "admin": (1, 1, False)}
    for who, (narrow, wide, executable) in writes.items():
        one = await s.session(who)
        level = [await one.value(node(text), ua.AttributeIds.UserAccessLevel) for text in (plants.RAMP, plants.LEVEL)]
        expect(level == [narrow, wide], who, level)
        force_too = await one.value(node("Canvoy.Methods.Machine.Force"), ua.AttributeIds.UserExecutable)
        expect(force_too == executable, who, force_too)
        own = await one.value(node(plants.RAMP), ua.AttributeIds.UserRolePermissions)
        expect(len(own) == 1, who, own)
        expect(bool(own[0].Permissions & ua.PermissionType.Write) == (narrow & 2 != 0), who, own)


@check("roles", "another user of the same session sees what that one may see", "OPC 10000-4, 5.7.3")
async def another_user(s):
    from common.client import Connection
    from .scene import PASSWORD

    async with await Connection(s.plant.url).session("engineer", PASSWORD) as one:
        made = await one.service("CreateSubscription", RequestedPublishingInterval=100, RequestedLifetimeCount=100, RequestedMaxKeepAliveCount=10)
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor = ua.ReadValueId(NodeId=node(HIDDEN), AttributeId=ua.AttributeIds.Value)
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters = ua.MonitoringParameters(ClientHandle=1, SamplingInterval=100, QueueSize=1)
        await one.service("CreateMonitoredItems", SubscriptionId=made.SubscriptionId, ItemsToCreate=[item])
        await one.activate("observer", PASSWORD)
        said = []
        for _ in range(10):
            published = await one.service("Publish")
            for data in published.NotificationMessage.NotificationData or []:
                said += [name(value.Value.StatusCode) for value in getattr(data, "MonitoredItems", [])]
            if "BadUserAccessDenied" in said:
                break
        expect(said and said[-1] == "BadUserAccessDenied", said)


@check("roles", "roles are read only: AddIdentity is refused", "OPC 10000-18, 4.4.5")
async def roles_are_read_only(s):
    said = await refuse_to_add(await s.session("admin"))
    expect(said == "BadNotExecutable", said)
    value = await (await s.session("admin")).value(IDENTITIES)
    expect([rule.Criteria for rule in value] == ["shift-*"], value)


@check("roles", "without a name only an application with a role is let in", "OPC 10000-18, 4.4.3")
async def applications(s):
    from common.client import Connection

    one = await Connection(s.plant.url).channel()
    await one.create()
    said = await status_of(one.activate())
    await one.close()
    expect(said == "BadIdentityTokenRejected", said)
