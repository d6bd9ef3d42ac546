"""The part of the companion specifications DI (OPC 10000-100) and Machinery (OPC 40001-1) that Canvoy serves, out of the
official NodeSets, in the form of src/plant/opcua/space/standard/companions.txt.

  companions.py FOLDER    with Opc.Ua.Di.NodeSet2.xml and Opc.Ua.Machinery.NodeSet2.xml in it (npm: node-opcua-nodesets)
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

SET = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
TYPES = "{http://opcfoundation.org/UA/2008/02/Types.xsd}"
# our indices
INDEX = {"http://opcfoundation.org/UA/": 0, "http://opcfoundation.org/UA/DI/": 3, "http://opcfoundation.org/UA/Machinery/": 4}
# what is wanted; what hangs from it comes along where it needs nothing else
WANTED = {
    3: [1001, 15063, 1002, 1005, 15035, 15048, 5001, 15001],
    4: [1011, 1003, 1010, 1004, 1012, 1005, 1006, 1001, 5001],
}
# roles have no rights of their own in these namespaces: DefaultRolePermissions, DefaultUserRolePermissions, DefaultAccessRestrictions
ABSENT = {"DefaultRolePermissions", "DefaultUserRolePermissions", "DefaultAccessRestrictions"}
# HasComponent, HasProperty, HasOrderedComponent, HasAddIn
HANGS = {47: "HasComponent", 46: "HasProperty", 49: "HasOrderedComponent", 17604: "HasAddIn"}
REFERENCES = {"Organizes": 35, "HasModellingRule": 37, "HasTypeDefinition": 40, "HasSubtype": 45, "HasInterface": 17603}
REFERENCES |= {name: number for number, name in HANGS.items()}
CLASSES = {"UAObject": "Object", "UAVariable": "Variable", "UAObjectType": "ObjectType", "UAMethod": "Method"}
CLASSES |= {"UAVariableType": "VariableType", "UADataType": "DataType", "UAReferenceType": "ReferenceType"}


def node_set(path):
    """Nodes of a NodeSet by (our namespace, number)."""
    root = ET.parse(path).getroot()
    uris = ["http://opcfoundation.org/UA/"] + [uri.text for uri in root.findall(f"{SET}NamespaceUris/{SET}Uri")]
    aliases = {alias.get("Alias"): alias.text for alias in root.find(SET + "Aliases")}
    map_index = [INDEX.get(uri) for uri in uris]

    def node_id(text):
        text = aliases.get(text, text)
        index, rest = text.split(";", 1) if text.startswith("ns=") else ("ns=0", text)
        return (map_index[int(index[3:])], int(rest[2:])) if rest.startswith("i=") else (None, 0)

    def name(text):
        index, rest = text.split(":", 1) if text[:1].isdigit() and ":" in text else ("0", text)
        return (map_index[int(index)], rest)

    nodes = {}
    for element in root:
        kind = element.tag.removeprefix(SET)
        if not kind.startswith("UA"):
            continue
        references = []
        for reference in element.find(SET + "References"):
            kind_id = node_id(reference.get("ReferenceType"))
            if kind_id == (0, 0):
                kind_id = (0, REFERENCES.get(reference.get("ReferenceType"), 0))
            references.append((kind_id, reference.get("IsForward", "true") == "true", node_id(reference.text)))
        value = element.find(SET + "Value")
        own = {
            "class": CLASSES.get(kind),
            "name": name(element.get("BrowseName")),
            "abstract": element.get("IsAbstract") == "true",
            "data_type": node_id(element.get("DataType", "i=24")) if kind in ("UAVariable", "UAVariableType") else None,
            "rank": int(element.get("ValueRank", "-1")),
            "references": references,
            "value": None if value is None or not len(value) else scalar(value[0], map_index),
        }
        nodes[node_id(element.get("NodeId"))] = own
    return nodes


def scalar(value, map_index):
    """A value as `Type text`; `None` for what is none of these."""
    kind = value.tag.removeprefix(TYPES)
    if kind in ("String", "DateTime", "Boolean"):
        return f"{kind} {value.text or ''}"
    if kind == "QualifiedName":
        index = value.find(TYPES + "NamespaceIndex")
        text = value.find(TYPES + "Name").text
        return f"QualifiedName {map_index[int(index.text)] if index is not None else 0}:{text}"
    return None


def parents(node):
    return [other for kind, forward, other in node["references"] if kind[0] == 0 and kind[1] in HANGS and not forward]


def chosen(nodes):
    keep = {(namespace, number) for namespace, numbers in WANTED.items() for number in numbers}

    def fits(node):
        definition = [other for kind, forward, other in node["references"] if kind == (0, 40) and forward]
        types = definition + ([node["data_type"]] if node["data_type"] else [])
        return node["class"] in ("Object", "Variable") and node["name"][1] not in ABSENT and all(kind[0] == 0 or kind in keep for kind in types)

    while True:
        more = {one for one, node in nodes.items() if one not in keep and fits(node) and any(p in keep for p in parents(node))}
        if not more:
            return keep
        keep |= more


def lines(folder):
    nodes = node_set(Path(folder) / "Opc.Ua.Di.NodeSet2.xml") | node_set(Path(folder) / "Opc.Ua.Machinery.NodeSet2.xml")
    keep = chosen(nodes)
    for one in sorted(keep):
        node = nodes[one]
        references = []
        for kind, forward, other in node["references"]:
            known = kind[0] == 0 and kind[1] in REFERENCES.values() and (other[0] == 0 or other in keep)
            # each once: from the node that hangs
            if known and (not forward or kind[1] in (37, 40, 17603)):
                references.append(f"{kind[1]}{'>' if forward else '<'}{other[0]}:{other[1]}")
        kind = node["data_type"][1] if node["data_type"] else 0
        # what we have of these namespaces is a part of them
        value = "Boolean true" if node["name"] == (0, "IsNamespaceSubset") else node["value"] or ""
        yield "\t".join([
            f"{one[0]}:{one[1]}", node["class"] + ("!" if node["abstract"] else ""), f"{node['name'][0]}:{node['name'][1]}",
            f"{kind}" + ("[]" if node["rank"] == 1 else ""), " ".join(sorted(references)), value,
        ])


if __name__ == "__main__":
    print("\n".join(lines(sys.argv[1])))
