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
