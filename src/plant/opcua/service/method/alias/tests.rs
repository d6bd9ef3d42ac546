//! Which aliases a pattern finds, how long others wait meanwhile, and how much one request is told.

use std::cell::Cell;

use opcua::types::{
    BinaryDecodable, BinaryEncodable, CallMethodRequest, CallMethodResult, CallRequest, CallResponse, ContextOwned,
    NodeId, RequestHeader,
};

use super::*;
use crate::plan::Overlay;
use crate::plant::opcua::service::Service;
use crate::plant::opcua::service::tests::{Bench, bench_with};
use crate::plant::opcua::tests::{Example, plan, tag};
use crate::plant::opcua::wire::{self, Reader, Writer};

/// A server whose first variables have these aliases.
fn named(aliases: &[&str], max_response_bytes: u32) -> Bench {
    let mut plan = plan();
    let tags = ["Oven.Temp", "Oven.Mode", "Oven.Door", "Oven.Trim", "Oven.Level"].map(|name| tag(&plan, name));
    let overlay = |alias: &&str| Overlay { alias: Some((*alias).to_owned()), ..Overlay::default() };
    plan.tag_overlays = tags.into_iter().zip(aliases.iter().map(overlay)).collect();
    bench_with(&Example::with(plan).0, max_response_bytes)
}

/// FindAlias with each of the patterns, all in one request; and the bytes of the response.
async fn find(bench: &Bench, patterns: &[&str]) -> (Vec<CallMethodResult>, usize) {
    let calls = patterns.iter().map(|pattern| CallMethodRequest {
        object_id: NodeId::new(0, CATEGORY),
        method_id: NodeId::new(0, MethodId::TagVariables_FindAlias as u32),
        input_arguments: Some(vec![Variant::from(*pattern), Variant::from(NodeId::null())]),
    });
    let request = CallRequest { request_header: RequestHeader::default(), methods_to_call: Some(calls.collect()) };
    let mut body = Writer::new();
    body.node_id(NodeRef::Numeric(0, Service::Call.request()));
    body.encode(&request);
    let body = body.finish();
    let mut reader = Reader::new(&body);
    reader.node_id().unwrap();
    let header = wire::RequestHeader::read(&mut reader).unwrap();
    let session = bench.session.clone();
    let user = session.user().unwrap();
    let ask = Ask { server: &bench.server, channel: &bench.channel, session, user, header };
    let bytes = super::super::call(&ask, &mut reader).await.unwrap().finish();
    let (mut rest, context) = (bytes.as_slice(), ContextOwned::default());
    NodeId::decode(&mut rest, &context.context()).unwrap();
    let response = CallResponse::decode(&mut rest, &context.context()).unwrap();
    (response.results.unwrap(), bytes.len())
}

const CATEGORY: u32 = alias::CATEGORY;

/// `alias=variable,variable`, or the status.
fn told(result: &CallMethodResult) -> String {
    let [Variant::Array(found)] = result.output_arguments.as_deref().unwrap_or_default() else {
        return result.status_code.to_string();
    };
    let found = found.values.iter().map(|value| match value {
        Variant::ExtensionObject(object) => {
            let found = object.inner_as::<AliasNameDataType>().unwrap();
            let nodes = found.referenced_nodes.iter().flatten().map(|node| node.node_id.identifier.to_string());
            format!("{}={}", found.alias_name.name, nodes.collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    });
    found.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_pattern_finds_aliases_with_their_variables() {
    let bench = named(&["Oven_1", "Door", "Door", "50%"], 0);
    let (door, oven) = ("Door=s=line.Oven.Mode,s=line.Oven.Door", "Oven_1=s=line.Oven.Temp");
    let percent = "50%=s=line.Oven.Trim";
    let cases = [
        ("%", format!("{percent} {door} {oven}")),
        ("D_or", door.to_owned()),
        ("[A-D]%", door.to_owned()),
        ("[^D5]%", oven.to_owned()),
        (r"%\%", percent.to_owned()),
        (r"%\_%", oven.to_owned()),
        ("door", String::new()),
        ("[D", "BadInvalidArgument".to_owned()),
        ("Door\\", "BadInvalidArgument".to_owned()),
    ];
    let (results, _) = find(&bench, &cases.each_ref().map(|(pattern, _)| *pattern)).await;
    for ((pattern, want), result) in cases.iter().zip(&results) {
        assert_eq!(told(result), *want, "{pattern}");
    }
    let long = "%".repeat(LONGEST + 1);
    assert_eq!(told(&find(&bench, &[&long]).await.0[0]), "BadInvalidArgument");
}

#[tokio::test]
async fn what_is_found_fits_the_response() {
    let long = "a".repeat(1_000);
    let most = 10_000;
    let bench = named(&[&long, "b"], most);
    let patterns: Vec<&str> = [vec!["a%"; 20], vec!["b"]].concat();
    let (results, bytes) = find(&bench, &patterns).await;
    let statuses: Vec<String> = results.iter().map(|result| result.status_code.to_string()).collect();
    // 9 times 1000 bytes, and what is kept for the other calls
    let good = statuses[..20].iter().filter(|status| *status == "Good").count();
    assert_eq!(good, 9, "{statuses:?}");
    let large = statuses.iter().filter(|status| *status == "BadResponseTooLarge").count();
    assert_eq!(large, 11, "{statuses:?}");
    assert_eq!(told(&results[20]), "b=s=line.Oven.Mode", "what is short is answered still");
    assert!(bytes < most as usize, "{bytes}");
}

#[tokio::test]
async fn others_have_their_turn_during_a_search_and_between_searches() {
    let long = ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(2_000));
    let worst = format!("%{}X", "_".repeat(LONGEST - 2));
    for (aliases, patterns, least) in
        [(long.each_ref().map(String::as_str), vec![worst.as_str()], 4), (["a", "b", "c", "d", "e"], vec!["x"; 50], 49)]
    {
        let (bench, over, turns) = (named(&aliases, 0), Cell::new(false), Cell::new(0));
        let search = async {
            find(&bench, &patterns).await;
            over.set(true);
        };
        // on the same thread
        let other = async {
            while !over.get() {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(search, other);
        assert!(turns.get() >= least, "{} turns", turns.get());
    }
}

#[test]
fn the_bytes_of_what_is_found_are_those_of_its_encoding() {
    let node = ExpandedNodeId::from(NodeId::new(NAMESPACE, "line.Oven.Temp"));
    let found = AliasNameDataType {
        alias_name: QualifiedName::new(NAMESPACE, "Oven"),
        referenced_nodes: Some(vec![node.clone(), node.clone()]),
    };
    let object = ExtensionObject::from_message(found);
    let encoded = object.byte_len(&ContextOwned::default().context());
    assert_eq!(ALIAS_BYTES + "Oven".len() + 2 * size(&node), encoded);
}
