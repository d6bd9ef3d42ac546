//! The services from request bytes to response bytes, which the crate writes and reads.

use opcua::types::{
    BinaryDecodable, BinaryEncodable, BrowseDescription, BrowseDirection, BrowsePath, BrowsePathResult, BrowseResult,
    ByteString, DateTime, NodeId, QualifiedName, ReferenceDescription, RelativePath, RelativePathElement,
    ViewDescription,
};

use super::*;
use crate::plant::opcua::reading::tests::{scene, walk};
use crate::plant::opcua::wire::context;

fn bytes(value: &impl BinaryEncodable) -> Vec<u8> {
    value.encode_to_vec(&context().context())
}

/// Results, and nothing after them but "no diagnostics".
fn results<T: BinaryDecodable>(writer: Writer) -> Vec<T> {
    let bytes = writer.finish();
    let mut rest = bytes.as_slice();
    let all = Option::<Vec<T>>::decode(&mut rest, &context().context()).unwrap().unwrap_or_default();
    assert_eq!(rest, [0xFF; 4]);
    all
}

/// One client's session.
struct Client {
    limits: Limits,
    points: ContinuationPoints,
}

impl Client {
    fn new() -> Client {
        Client { limits: Limits::default(), points: ContinuationPoints::default() }
    }

    fn browse_in(
        &mut self,
        scene: &Scene,
        view: ViewDescription,
        most: u32,
        wanted: Vec<BrowseDescription>,
    ) -> Result<Vec<BrowseResult>, StatusCode> {
        let request = [bytes(&view), most.to_le_bytes().into(), bytes(&Some(wanted))].concat();
        let mut writer = Writer::new();
        let mut reader = Reader::new(&request);
        browse(scene, &User::anonymous(), &self.limits, &mut self.points, &mut reader, &mut writer)?;
        assert!(reader.rest().is_empty());
        Ok(results(writer))
    }

    fn browse(&mut self, scene: &Scene, most: u32, wanted: BrowseDescription) -> BrowseResult {
        self.browse_in(scene, ViewDescription::default(), most, vec![wanted]).unwrap().remove(0)
    }

    fn next(&mut self, scene: &Scene, point: &ByteString) -> BrowseResult {
        self.next_or_release(scene, false, point).remove(0)
    }

    fn next_or_release(&mut self, scene: &Scene, release: bool, point: &ByteString) -> Vec<BrowseResult> {
        let request = [bytes(&release), bytes(&Some(vec![point.clone()]))].concat();
        let mut writer = Writer::new();
        browse_next(scene, &User::anonymous(), &self.limits, &mut self.points, &mut Reader::new(&request), &mut writer)
            .unwrap();
        results(writer)
    }

    /// All pages of a Browse.
    fn all(&mut self, scene: &Scene, most: u32, wanted: BrowseDescription) -> Vec<ReferenceDescription> {
        let mut result = self.browse(scene, most, wanted);
        let mut all = Vec::new();
        loop {
            assert_eq!(result.status_code, StatusCode::Good);
            let page = result.references.unwrap_or_default();
            assert!(most == 0 || page.len() <= most as usize);
            all.extend(page);
            if result.continuation_point.is_null() {
                return all;
            }
            result = self.next(scene, &result.continuation_point);
        }
    }
}

fn wanted(node: &NodeId, direction: BrowseDirection) -> BrowseDescription {
    BrowseDescription {
        node_id: node.clone(),
        browse_direction: direction,
        reference_type_id: NodeId::null(),
        include_subtypes: true,
        node_class_mask: 0,
        result_mask: 63,
    }
}

fn number(number: u32) -> NodeId {
    NodeId::new(0, number)
}

fn plant(text: &str) -> NodeId {
    NodeId::new(2, text)
}

#[test]
fn browse_tells_what_there_is_in_pages_or_at_once() {
    let (_example, scene) = scene();
    let mut client = Client::new();
    for node in walk(&scene) {
        let id = scene.space.id(node);
        let whole = client.all(&scene, 0, wanted(&id, BrowseDirection::Both));
        let known = scene.references(node);
        assert_eq!(whole.len(), known.len(), "{id}");
        for (told, reference) in whole.iter().zip(&known) {
            let target = reference.target;
            let space = &scene.space;
            assert_eq!(told.reference_type_id, number(reference.kind));
            assert_eq!(told.is_forward, reference.forward);
            assert_eq!(told.node_id.node_id, space.id(target));
            assert_eq!(told.browse_name, space.browse_name(target));
            assert_eq!(told.display_name.text, space.display_name(target, Locales::NONE).text);
            assert_eq!(told.node_class, space.class(target));
            assert_eq!(told.type_definition.node_id, space.type_definition_id(target));
            assert!(!told.browse_name.name.is_empty() && !told.display_name.text.is_empty(), "{id}");
        }
        if whole.len() > 2 && whole.len() < 16 {
            for most in [1, 2, 7] {
                assert_eq!(client.all(&scene, most, wanted(&id, BrowseDirection::Both)), whole, "{id} by {most}");
            }
        }
        let one_way = |client: &mut Client, direction| client.all(&scene, 0, wanted(&id, direction));
        let (forward, inverse) =
            (one_way(&mut client, BrowseDirection::Forward), one_way(&mut client, BrowseDirection::Inverse));
        assert_eq!([inverse, forward].concat(), whole, "{id}: inverse ones first");
    }
    assert!(client.points.is_empty());
}

#[test]
fn what_is_asked_for_chooses() {
    let (_example, scene) = scene();
    let mut client = Client::new();
    let base = |node: &NodeId| wanted(node, BrowseDirection::Forward);
    let server = number(2253);
    let names = |all: Vec<ReferenceDescription>| {
        all.into_iter().map(|one| one.browse_name.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (node, kind, subtypes, mask, want) in [
        (number(84), 33, true, 0, "Objects Types Views"),
        (number(84), 33, false, 0, ""),
        (number(84), 35, false, 0, "Objects Types Views"),
        (number(85), 33, true, 0, "Aliases DeviceSet Machines Server Canvoy"),
        (server.clone(), 33, true, 4, "GetMonitoredItems ResendData"),
        (server.clone(), 40, true, 0, "ServerType"),
        (plant("Canvoy"), 33, true, 0, "Machine line NodeVersion"),
        (plant("line"), 35, true, 0, "DriveCommand EEC1 Oven Precise Wide line.@33"),
        // HasNotifier
        (plant("line"), 48, true, 0, "DriveCommand EEC1 Oven Precise Wide"),
        (plant("Canvoy.Machine"), 48, true, 0, "line"),
        (server.clone(), 48, true, 0, "Machine"),
        // HasCondition
        (plant("line.Oven"), 9006, true, 0, "late:line.Oven protection:line.Oven"),
        (plant("line.Oven"), 47, true, 0, "Door Flag Level Mode Temp Trim"),
        (plant("line.Oven.Temp"), 46, true, 0, "Comment EngineeringUnits EURange NodeVersion"),
        (plant("line.Oven.Temp"), 33, true, 1, ""),
        (plant("line.EEC1"), 47, true, 0, ""),
        (plant("Canvoy.Devices.line.@33"), 47, true, 0, "EEC1"),
        (plant("Canvoy.Devices.line.ECU"), 47, true, 0, "Oven Precise Wide"),
    ] {
        let asked = BrowseDescription {
            reference_type_id: number(kind),
            include_subtypes: subtypes,
            node_class_mask: mask,
            ..base(&node)
        };
        assert_eq!(names(client.all(&scene, 0, asked)), want, "{node} {kind} {subtypes} {mask}");
    }
    for (bit, mask) in [0, 1, 2, 4, 8, 16, 32].into_iter().enumerate() {
        for one in client.all(&scene, 0, BrowseDescription { result_mask: mask, ..base(&server) }) {
            let there = [
                !one.reference_type_id.is_null(),
                one.is_forward,
                one.node_class != NodeClass::Unspecified,
                !one.browse_name.is_null(),
                !one.display_name.text.is_null(),
                !one.type_definition.node_id.is_null(),
            ];
            let may = |at: usize| at + 1 == bit;
            assert!(there.iter().enumerate().all(|(at, there)| !there || may(at)), "mask {mask}: {there:?}");
            assert!(mask == 0 || mask == 32 || there.contains(&true), "mask {mask}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_of_each_node() {
    use StatusCode as S;
    let (_example, scene) = scene();
    let mut client = Client::new();
    let good = wanted(&number(85), BrowseDirection::Forward);
    let of = |node: NodeId| BrowseDescription { node_id: node, ..good.clone() };
    let kind = |kind: NodeId| BrowseDescription { reference_type_id: kind, ..good.clone() };
    let cases = [
        (good.clone(), S::Good),
        (of(NodeId::null()), S::BadNodeIdInvalid),
        (of(number(999_999)), S::BadNodeIdUnknown),
        (of(NodeId::new(0, "x")), S::BadNodeIdUnknown),
        (of(NodeId::new(1, 9999_u32)), S::BadNodeIdUnknown),
        (of(NodeId::new(1, "x")), S::BadNodeIdUnknown),
        (of(plant("line.Nothing")), S::BadNodeIdUnknown),
        (of(NodeId::new(2, 4_u32)), S::BadNodeIdUnknown),
        (of(NodeId::new(77, 1_u32)), S::BadNodeIdUnknown),
        (kind(number(999_999)), S::BadReferenceTypeIdInvalid),
        (kind(number(85)), S::BadReferenceTypeIdInvalid),
        (kind(plant("line.Oven.Temp")), S::BadReferenceTypeIdInvalid),
        (kind(NodeId::new(2, 35_u32)), S::BadReferenceTypeIdInvalid),
        (
            BrowseDescription { browse_direction: BrowseDirection::Invalid, ..good.clone() },
            S::BadBrowseDirectionInvalid,
        ),
    ];
    let (asked, want): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let found = client.browse_in(&scene, ViewDescription::default(), 0, asked).unwrap();
    assert_eq!(found.into_iter().map(|one| one.status_code).collect::<Vec<_>>(), want);

    let view = |view_id, timestamp, view_version| ViewDescription { view_id, timestamp, view_version };
    for (view, count, want) in [
        (ViewDescription::default(), 0, Some(S::BadNothingToDo)),
        (ViewDescription::default(), 1001, Some(S::BadTooManyOperations)),
        (ViewDescription::default(), 1000, None),
        (view(NodeId::null(), DateTime::now(), 7), 1, None),
        (view(plant("x"), DateTime::null(), 0), 1, Some(S::BadViewIdUnknown)),
        (view(number(85), DateTime::null(), 0), 1, Some(S::BadViewIdUnknown)),
    ] {
        let found =
            client.browse_in(&scene, view.clone(), 1, vec![wanted(&number(84), BrowseDirection::Inverse); count]);
        assert_eq!(found.err(), want, "{view:?} {count}");
    }
}

#[test]
fn continuation_points_are_good_once_and_bounded() {
    use StatusCode as S;
    let (_example, scene) = scene();
    let mut client = Client { limits: Limits { browse_continuation_points: 3, ..Limits::default() }, ..Client::new() };
    let many = || wanted(&number(58), BrowseDirection::Forward);
    let first = client.browse(&scene, 1, many());
    let second = client.next(&scene, &first.continuation_point);
    assert_eq!(second.references.as_ref().unwrap().len(), 1);
    assert_eq!(client.next(&scene, &first.continuation_point).status_code, S::BadContinuationPointInvalid);
    let released = client.next_or_release(&scene, true, &second.continuation_point).remove(0);
    assert_eq!((released.status_code, released.references.unwrap_or_default().len()), (S::Good, 0));
    for point in [
        &second.continuation_point,
        &ByteString::null(),
        &ByteString::from(b"nonsense"),
        &ByteString::from(&[0_u8; 64]),
    ] {
        for release in [true, false] {
            let result = client.next_or_release(&scene, release, point).remove(0);
            assert_eq!(result.status_code, S::BadContinuationPointInvalid);
        }
    }
    // one request can't have more than there are; the next takes from those before
    let found = client.browse_in(&scene, ViewDescription::default(), 1, vec![many(); 5]).unwrap();
    let status: Vec<_> = found.iter().map(|one| one.status_code).collect();
    assert_eq!(status, [S::Good, S::Good, S::Good, S::BadNoContinuationPoints, S::BadNoContinuationPoints]);
    assert!(found[4].references.as_ref().is_none_or(|all| all.is_empty()) && found[4].continuation_point.is_null());
    let newer = client.browse(&scene, 1, many());
    assert_eq!((newer.status_code, client.points.len()), (S::Good, 3));
    assert_eq!(client.next(&scene, &found[0].continuation_point).status_code, S::BadContinuationPointInvalid);
    assert_eq!(client.next(&scene, &found[1].continuation_point).status_code, S::Good);
    // another plan has other nodes
    let later = Scene {
        number: scene.number + 1,
        view: scene.view.clone(),
        space: scene.space.clone(),
        server: scene.server.clone(),
        alarms: scene.alarms.clone(),
    };
    assert_eq!(client.next(&later, &newer.continuation_point).status_code, S::BadContinuationPointInvalid);
}

#[test]
fn a_response_does_not_grow_without_end() {
    let (_example, scene) = scene();
    let limits = Limits { message_bytes: 20_000, browse_continuation_points: 1000, ..Limits::default() };
    let mut client = Client { limits, ..Client::new() };
    let types = || wanted(&number(58), BrowseDirection::Forward);
    let found = client.browse_in(&scene, ViewDescription::default(), 0, vec![types(); 900]).unwrap();
    let told: usize = found.iter().map(|one| one.references.as_ref().map_or(0, Vec::len)).sum();
    assert!(told < 1100, "{told}: one of each, when the room is gone");
    assert_eq!(client.all(&scene, 0, types()), Client::new().all(&scene, 0, types()));
}

#[test]
fn paths_lead_to_nodes() {
    use StatusCode as S;
    let (_example, scene) = scene();
    let step = |(kind, inverse, namespace, name): &(u32, bool, u16, &str)| RelativePathElement {
        reference_type_id: number(*kind),
        is_inverse: *inverse,
        include_subtypes: true,
        target_name: if name.is_empty() { QualifiedName::null() } else { QualifiedName::new(*namespace, *name) },
    };
    type Step = (u32, bool, u16, &'static str);
    let long: Vec<Step> =
        (0..101).map(|at| (33, at % 2 == 1, 0, if at % 2 == 0 { "Objects" } else { "Root" })).collect();
    let cases: Vec<(NodeId, Vec<Step>, Result<&str, S>)> = vec![
        (
            number(84),
            vec![(33, false, 0, "Objects"), (33, false, 0, "Server"), (33, false, 0, "ServerStatus")],
            Ok("i=2256"),
        ),
        (
            number(85),
            vec![
                (35, false, 2, "Canvoy"),
                (35, false, 2, "line"),
                (35, false, 2, "Oven"),
                (47, false, 2, "Temp"),
                (46, false, 0, "EURange"),
            ],
            Ok("ns=2;s=line.Oven.Temp.EURange"),
        ),
        (
            plant("line"),
            vec![(0, false, 2, "line.@33"), (0, false, 2, "EEC1"), (0, false, 2, "EngineSpeed")],
            Ok("ns=2;s=line.EEC1@33.EngineSpeed"),
        ),
        (
            plant("line.Oven.Temp"),
            vec![(33, true, 2, "Oven"), (33, true, 2, "line"), (33, true, 2, "Canvoy"), (33, true, 0, "Objects")],
            Ok("i=85"),
        ),
        (plant("line"), vec![(40, false, 0, "FolderType")], Ok("i=61")),
        (plant("line"), vec![(33, false, 2, "FolderType")], Err(S::BadNoMatch)),
        (plant("line"), vec![(46, false, 2, "Oven")], Err(S::BadNoMatch)),
        (plant("line"), vec![(33, false, 0, "Oven")], Err(S::BadNoMatch)),
        (plant("line"), vec![(33, false, 2, "Oven.Temp")], Err(S::BadNoMatch)),
        (plant("line"), vec![(33, false, 2, "Nothing")], Err(S::BadNoMatch)),
        (plant("line"), vec![(999_999, false, 2, "Oven")], Err(S::BadNoMatch)),
        (plant("nothing"), vec![(33, false, 2, "Oven")], Err(S::BadNodeIdUnknown)),
        (NodeId::null(), vec![(33, false, 2, "Oven")], Err(S::BadNodeIdInvalid)),
        (plant("line"), vec![], Err(S::BadNothingToDo)),
        (plant("line"), vec![(33, false, 2, "")], Err(S::BadBrowseNameInvalid)),
        (plant("line"), vec![(33, false, 2, ""), (33, false, 2, "Oven")], Err(S::BadBrowseNameInvalid)),
        (number(84), long, Err(S::BadQueryTooComplex)),
    ];
    let paths = cases.iter().map(|(node, steps, _)| BrowsePath {
        starting_node: node.clone(),
        relative_path: RelativePath { elements: Some(steps.iter().map(step).collect()) },
    });
    let request = bytes(&Some(paths.collect::<Vec<_>>()));
    let mut writer = Writer::new();
    translate(&scene, &User::anonymous(), &Limits::default(), &mut Reader::new(&request), &mut writer).unwrap();
    let found: Vec<BrowsePathResult> = results(writer);
    for ((node, steps, want), found) in cases.iter().zip(found) {
        let targets = found.targets.unwrap_or_default();
        match want {
            Ok(want) => {
                let ids: Vec<String> = targets.iter().map(|target| target.target_id.node_id.to_string()).collect();
                assert_eq!((found.status_code, ids), (S::Good, vec![want.to_string()]), "{node} {steps:?}");
                assert_eq!(targets[0].remaining_path_index, u32::MAX);
            }
            Err(want) => assert_eq!((found.status_code, targets.len()), (*want, 0), "{node} {}", steps.len()),
        }
    }
    for (count, want) in [(0, S::BadNothingToDo), (10_001, S::BadTooManyOperations)] {
        let request = bytes(&Some(vec![BrowsePath::default(); count]));
        let said =
            translate(&scene, &User::anonymous(), &Limits::default(), &mut Reader::new(&request), &mut Writer::new());
        assert_eq!(said, Err(want));
    }
}

#[test]
fn registered_nodes_are_their_own_handles() {
    let nodes = vec![plant("line.Oven.Temp"), number(85), NodeId::new(77, "x")];
    let request = bytes(&Some(nodes.clone()));
    let mut writer = Writer::new();
    register(&Limits::default(), &mut Reader::new(&request), &mut writer).unwrap();
    assert_eq!(writer.finish(), request);
    assert_eq!(unregister(&Limits::default(), &mut Reader::new(&request)), Ok(()));
    for (count, want) in [(0, StatusCode::BadNothingToDo), (10_001, StatusCode::BadTooManyOperations)] {
        let request = bytes(&Some(vec![number(85); count]));
        assert_eq!(register(&Limits::default(), &mut Reader::new(&request), &mut Writer::new()), Err(want));
        assert_eq!(unregister(&Limits::default(), &mut Reader::new(&request)), Err(want));
    }
}

#[test]
fn a_request_that_is_cut_off_is_no_request() {
    let (_example, scene) = scene();
    let good = vec![wanted(&plant("line.Oven"), BrowseDirection::Both)];
    let request = [bytes(&ViewDescription::default()), vec![0; 4], bytes(&Some(good))].concat();
    for length in 0..request.len() {
        let (mut points, mut reader) = (ContinuationPoints::default(), Reader::new(&request[..length]));
        let said = browse(&scene, &User::anonymous(), &Limits::default(), &mut points, &mut reader, &mut Writer::new());
        assert_eq!(said, Err(StatusCode::BadDecodingError), "{length}");
    }
}
