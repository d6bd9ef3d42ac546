//! The file of an invented plan.

use super::*;
use crate::plant::opcua::tests::plan;

#[test]
fn every_node_of_the_plant_is_in_it_once() {
    let scene = scene(Arc::new(plan()), Identity::default()).unwrap();
    let text = write(&scene);
    let nodes = all(&scene);
    assert_eq!(text.matches(" NodeId=\"ns=1;").count(), nodes.len());
    // no J1939 source was seen, and no session is there
    assert!(nodes.len() > 200 && !text.contains("EEC1@"), "{}", nodes.len());
    for piece in [
        "<UAVariable NodeId=\"ns=1;s=line.Oven.Temp\" BrowseName=\"1:Temp\" ParentNodeId=\"ns=1;s=line.Oven\" DataType=\"i=11\"",
        "<Range><Low>-40</Low><High>200</High></Range>",
        "<UAObjectType NodeId=\"ns=1;s=Canvoy.Types.line.ECU\" BrowseName=\"1:line.ECU\">",
        "<Reference ReferenceType=\"i=45\" IsForward=\"false\">ns=2;i=1002</Reference>",
        "<Field Name=\"BusOff\" Value=\"5\"><DisplayName>BusOff</DisplayName>",
        "<RequiredModel ModelUri=\"http://opcfoundation.org/UA/DI/\"",
    ] {
        assert!(text.contains(piece), "{piece}");
    }
    assert!(!text.contains(MACHINERY_URI));
    // those of the conditions' methods too
    let arguments = "BrowseName=\"InputArguments\"";
    assert!(text.contains("Canvoy.Alarms.late:line.Oven.Acknowledge.InputArguments"));
    // what a condition says as long as the configuration does
    let value = |id: &str| {
        let node = text.split("<UA").find(|node| node.contains(&format!("NodeId=\"ns=1;s=Canvoy.Alarms.{id}\"")));
        node.unwrap_or_else(|| panic!("{id}")).split("<Value>").nth(1).map(|value| value.to_owned())
    };
    for (id, piece) in [
        ("late:line.Oven.SourceName", ">line.Oven<"),
        ("late:line.Oven.SourceNode", "<Identifier>ns=1;s=line.Oven<"),
        ("late:line.Oven.ConditionName", ">late<"),
        ("late:line.Oven.ConditionClassId", "<Identifier>i="),
    ] {
        assert!(value(id).is_some_and(|value| value.contains(piece)), "{id}: {:?}", value(id));
    }
    for live in ["late:line.Oven.Message", "late:line.Oven.ActiveState.Id", "late:line.Oven.Retain"] {
        assert_eq!(value(live), None, "{live}");
    }
    for node in text.split("<UA").filter(|node| node.contains(arguments)) {
        assert!(node.contains("<Argument>"), "{node}");
    }
}

#[test]
fn letters_of_xml_are_written_as_such() {
    for (text, want) in [("a<b>&\"c\"", "a&lt;b&gt;&amp;&quot;c&quot;"), ("\u{1}\n", "?&#10;"), ("Größe", "Größe")]
    {
        assert_eq!(escape(text), want);
    }
}
