//! The landing page: what a maintenance person needs tonight, complete without JavaScript, kept up to date with it.

use std::fmt::{self, Write};

use super::alarms;
use super::snapshot::{Bus, Filter, Message, Snapshot, Tag};
use crate::plan::Direction;
use crate::plant::j1939::Device;
use crate::plant::machine::Machine;
use crate::plant::text;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");

/// What the browser may do with the page: its own style and script, and ask this server. `nonce`: of this response.
pub fn content_security_policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// The whole page. Everything that comes from a file or a client is escaped.
pub fn render(snapshot: &Snapshot<'_>, filter: &Filter, nonce: &str) -> String {
    let mut page = String::with_capacity(16 * 1024 + snapshot.tags.len() * 256);
    // writing into a String can't fail
    let _ = write_page(&mut page, snapshot, filter, nonce);
    page
}

fn write_page(page: &mut String, snapshot: &Snapshot<'_>, filter: &Filter, nonce: &str) -> fmt::Result {
    let controller = &snapshot.controller;
    let (class, word) = if controller.up { ("good", "controller running") } else { ("bad", "controller gone") };
    let hidden = |hide: bool| if hide { " hidden" } else { "" };
    write!(
        page,
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Canvoy</title>
<link rel="icon" href="data:,">
<style nonce="{nonce}">
{STYLE}</style>
</head>
<body>
<header>
<h1>Canvoy</h1>
<p><span id="controller" class="{class}">{word}</span> · <span id="outputs">{outputs}</span> · configuration <span id="configuration" title="{full}">{hash}</span>{since} · <span id="time">{time}</span></p>
<nav><a href="/metrics">metrics</a><a href="/api/v1/tags">JSON</a><a href="/healthz">health</a></nav>
</header>
<main>
<p id="simulated" class="banner simulated" role="status"{not_simulated}><b>Simulated.</b> {what} There is no machine behind these values.</p>
<p id="gone" class="banner gone" role="alert"{not_gone}><b>The controller is gone or stuck.</b> Every value is the last one known and not to be trusted. Look at <code>journalctl -u canvoy</code>.</p>
<p id="unkept" class="banner stale" role="alert"{kept}><b>Alarms can't be written to the disk:</b> what is done about them, and their journal, would be lost with this process. Look at <code>journalctl -u canvoy-plant</code>.</p>
<p id="stale" class="banner stale" role="alert" hidden><b>This page gets no answer</b> from the server and shows what it knew last.</p>
"#,
        outputs = outputs(&snapshot.machine),
        hash = controller.configuration,
        full = controller.configuration_hash,
        since = controller.configuration_since.as_ref().map(|time| format!(" since {time}")).unwrap_or_default(),
        time = snapshot.time.as_deref().unwrap_or(text::UNKNOWN_TIME),
        not_simulated = hidden(!controller.simulated),
        what = simulated(snapshot),
        not_gone = hidden(controller.up),
        kept = hidden(snapshot.alarms_kept),
    )?;
    alarms::write(page, snapshot)?;
    write_buses(page, &snapshot.buses)?;
    write_devices(page, &snapshot.j1939)?;
    write_times(page, &snapshot.machine)?;
    let checked = if filter.problems { " checked" } else { "" };
    write!(
        page,
        r#"<form method="get" action="/">
<input type="search" name="q" value="{words}" placeholder="Filter: drive speed" aria-label="Filter signals by name" autocomplete="off">
<label><input type="checkbox" name="problems" value="1"{checked}> only what is not good</label>
<button id="search">Filter</button>
<span id="count">{shown} shown</span>
</form>
"#,
        words = Escaped(&filter.words),
        shown = snapshot.tags.len(),
    )?;
    if snapshot.left_out > 0 {
        let left_out = snapshot.left_out;
        writeln!(page, r#"<p class="banner stale">{left_out} more are not shown: filter and press Enter.</p>"#)?;
    }
    page.push_str(
        r#"<div class="sheet">
<table>
<thead><tr><th>Signal</th><th class="number">Value</th><th></th><th>Quality</th><th class="number">Last frame</th></tr></thead>
"#,
    );
    for message in &snapshot.messages {
        write_message(page, message, &snapshot.tags[message.tags.clone()])?;
    }
    if snapshot.tags.is_empty() {
        let none = if filter.problems { "Nothing here: all that matches is good." } else { "No signal matches." };
        writeln!(page, r#"<tbody><tr><td colspan="5">{none}</td></tr></tbody>"#)?;
    }
    write!(
        page,
        r#"</table>
</div>
</main>
<footer>
<p>Not a safety component: emergency stops are wired, and nothing on this page may be relied on to protect people.</p>
<p>Canvoy {version} · this page only shows; values are written by OPC UA clients with a user of their own.</p>
</footer>
<script nonce="{nonce}">
{SCRIPT}</script>
</body>
</html>
"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn simulated(snapshot: &Snapshot<'_>) -> String {
    let names: Vec<&str> = snapshot.buses.iter().filter(|bus| bus.simulated).map(|bus| bus.name).collect();
    match names[..] {
        _ if names.len() == snapshot.buses.len() => "All devices on all buses are simulated.".into(),
        [only] => format!("All devices on bus {} are simulated.", Escaped(only)),
        _ => format!("All devices on buses {} are simulated.", Escaped(&names.join(", "))),
    }
}

/// What the outputs do, in a few words. The script says the same.
fn outputs(machine: &Machine) -> String {
    let armed = if machine.armed { "outputs armed" } else { "outputs not armed" };
    let mode = if machine.remote { "Remote" } else { "Local" };
    let clock = if machine.clock_synchronized == Some(false) { " · clock not synchronised" } else { "" };
    match machine.forces.len() {
        0 => format!("{armed} · {mode}{clock}"),
        forces => format!("{armed} · {mode} · {forces} forced{clock}"),
    }
}

/// Routes, and times against their budgets: folded, because it is for those who ask.
fn write_times(page: &mut String, machine: &Machine) -> fmt::Result {
    if machine.times.is_empty() && machine.routes.is_empty() {
        return Ok(());
    }
    page.push_str(
        r#"<details>
<summary>Routes, and times against their budgets</summary>
<div class="sheet">
<table>
<thead><tr><th>Route</th><th>State</th><th class="number">Passed</th><th class="number">Dropped</th></tr></thead>
<tbody id="routes">
"#,
    );
    for route in &machine.routes {
        writeln!(
            page,
            r#"<tr><td>{}</td><td>{}</td><td class="number">{}</td><td class="number">{}</td></tr>"#,
            Escaped(&route.name),
            if route.on { "on" } else { "off" },
            route.passed,
            route.dropped(),
        )?;
    }
    page.push_str(
        r#"</tbody>
</table>
</div>
<div class="sheet">
<table>
<thead><tr><th>ms from receive stamp, or moment of the cycle, to sent</th><th class="number">Budget</th><th class="number">p50</th><th class="number">p99.9</th><th class="number">Maximum</th><th class="number">Over</th><th class="number">of</th></tr></thead>
<tbody id="times">
"#,
    );
    for times in &machine.times {
        write!(page, "<tr><td>{} {}</td>", times.kind, Escaped(&times.name))?;
        for us in [times.budget_us, times.p50_us, times.p999_us, times.max_us] {
            write!(page, r#"<td class="number">{:.3}</td>"#, us / 1e3)?;
        }
        for count in [times.overruns, times.count] {
            write!(page, r#"<td class="number">{count}</td>"#)?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n</details>\n");
    Ok(())
}

fn write_buses(page: &mut String, buses: &[Bus<'_>]) -> fmt::Result {
    page.push_str(
        r#"<div class="sheet">
<table>
<thead><tr><th>Bus</th><th>Interface</th><th>State</th><th>Since</th><th class="number">Frames/s</th><th class="number">Load %</th><th class="number">Received</th><th class="number">Sent</th><th class="number">Lost</th><th class="number">Not sent</th><th class="number">Error frames</th><th class="number">Unknown</th></tr></thead>
<tbody>
"#,
    );
    for bus in buses {
        write!(
            page,
            r#"<tr data-bus="{name}"><td><b>{name}</b></td><td>{interface}</td><td class="state {trust}" title="{trouble}">{state}</td><td>{since}</td><td class="number">{rate}</td><td class="number" title="{peak}">{load}</td>"#,
            name = Escaped(bus.name),
            interface = Escaped(bus.interface),
            trust = bus.trust,
            trouble = Escaped(bus.trouble),
            state = bus.state.replace('_', " "),
            since = bus.since.as_deref().unwrap_or("–"),
            rate = bus.frames_per_second.map_or_else(|| "–".into(), |rate| format!("{rate:.0}")),
            load = bus.load_percent.map_or_else(|| "–".into(), |load| format!("{load:.1}")),
            peak = bus
                .load_peak_percent
                .map_or_else(|| "bit rate not known".into(), |peak| format!("highest: {peak:.1} %")),
        )?;
        for count in [bus.received, bus.transmitted, bus.lost, bus.not_sent, bus.error_frames, bus.unknown] {
            write!(page, r#"<td class="number">{count}</td>"#)?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}

/// Who sends on buses with J1939: folded, because it is for those who ask.
fn write_devices(page: &mut String, devices: &[Device]) -> fmt::Result {
    if devices.is_empty() {
        return Ok(());
    }
    page.push_str(
        r#"<details>
<summary>J1939 devices, by the NAMEs that they claimed</summary>
<div class="sheet">
<table>
<thead><tr><th>Source</th><th>NAME</th><th>Manufacturer</th><th class="number">Serial number</th><th class="number">Function</th><th>Claimed</th></tr></thead>
<tbody>
"#,
    );
    for device in devices {
        writeln!(
            page,
            r#"<tr><td><b>{}.@{}</b></td><td>{}</td><td>{}</td><td class="number">{}</td><td class="number">{}</td><td>{}</td></tr>"#,
            Escaped(&device.bus),
            device.source_address,
            device.name,
            Escaped(&device.manufacturer),
            device.identity_number,
            device.function,
            device.claimed.as_deref().unwrap_or(text::UNKNOWN_TIME),
        )?;
    }
    page.push_str("</tbody>\n</table>\n</div>\n</details>\n");
    Ok(())
}

fn write_message(page: &mut String, message: &Message<'_>, tags: &[Tag<'_>]) -> fmt::Result {
    let id = message.id;
    write!(page, r#"<tbody data-message="{name}"><tr class="message"><th colspan="5""#, name = Escaped(&message.name))?;
    if let Some(comment) = &message.dbc.comment {
        write!(page, r#" title="{}""#, Escaped(comment))?;
    }
    write!(page, ">{}<span>{id}</span><span>", Escaped(&message.name))?;
    match message.direction {
        Direction::Input(_) if message.dbc.senders.is_empty() => page.push_str("received"),
        Direction::Input(_) => write!(page, "from {}", Escaped(&message.dbc.senders.join(", ")))?,
        Direction::Output(_) => page.push_str("sent by us"),
    }
    if let Some(cycle) = message.dbc.cycle_time {
        write!(page, " every {} ms", cycle.as_millis())?;
    }
    page.push_str("</span></th></tr>\n");
    for tag in tags {
        write!(page, r#"<tr data-tag="{}" class="{}""#, Escaped(&tag.name), class(tag))?;
        if tag.alias.is_some() || tag.area.is_some() {
            let words = [tag.alias, tag.area].map(Option::unwrap_or_default).join(" ");
            write!(page, r#" data-words="{}""#, Escaped(&words))?;
        }
        page.push_str(r#"><td class="name""#);
        if let Some(comment) = &tag.signal.comment {
            write!(page, r#" title="{}""#, Escaped(comment))?;
        }
        let since = match &tag.since {
            Some(time) => format!(", since {time}"),
            None => String::new(),
        };
        page.push('>');
        if let Some(alias) = tag.alias {
            write!(page, "{} · ", Escaped(alias))?;
        }
        page.push_str(&Escaped(&tag.signal.name).to_string());
        if let Some(area) = tag.area {
            write!(page, r#"<span class="area">{}</span>"#, Escaped(area))?;
        }
        writeln!(
            page,
            r#"</td><td class="value">{}</td><td class="unit">{}</td><td class="quality">{}{since}</td><td class="number age">{}</td></tr>"#,
            Escaped(&tag.text),
            Escaped(tag.unit),
            tag.quality_text,
            tag.age_text,
        )?;
    }
    page.push_str("</tbody>\n");
    Ok(())
}

/// Simulated values are good and not real: they look like neither.
fn class(tag: &Tag<'_>) -> &'static str {
    if tag.quality == "simulated" { "good simulated" } else { tag.trust }
}

/// Text inside an element or a quoted attribute.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::snapshot::take;
    use super::super::tests::{Example, NOW, STAMP};
    use super::*;
    use crate::can::name::Name;
    use crate::plan::Alarm;
    use crate::plant::status::Status;
    use crate::quality::{Cause, Causes};
    use crate::store::layout::{BusState, MainWord};
    use crate::store::names::Holder;

    pub fn page(example: &Example, query: &str) -> String {
        let status = Status::new(&example.plan, &[]).unwrap();
        let filter = Filter::from_query(Some(query));
        render(&take(&example.plant.view(), &status, &filter, NOW), &filter, "0123")
    }

    pub fn check(page: &str, want: &[&str], never: &[&str]) {
        for part in want {
            assert!(page.contains(part), "no {part} in\n{page}");
        }
        for part in never {
            assert!(!page.contains(part), "{part} in\n{page}");
        }
    }

    #[test]
    fn what_a_file_or_a_client_says_is_no_markup() {
        let mut example = Example::new();
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        let page = page(&example, "q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
        check(&page, &[r#"value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;""#], &["<script>"]);
        let page = self::page(&example, "");
        check(
            &page,
            &["Running &lt;fast&gt; (2)", "Says &lt;script&gt;alert(1)&lt;/script&gt;", "&quot;&lt;b&gt;\\"],
            &["<fast>", "<script>", "<b>\\"],
        );
    }

    #[test]
    fn what_happened_before_the_clock_was_set_has_no_time() {
        let mut example = Example::new();
        let alarm = example.plan.alarm(Alarm::NotArmed).unwrap();
        example.writer.alarm(alarm, true, 0, 5_000_000_000);
        example.writer.set_bus_state(0, BusState::Active, 5_000_000_000);
        example.main.set(MainWord::ClockSynchronized, 1);
        let page = page(&example, "");
        check(&page, &["<td>time unknown</td>", "clock not synchronised"], &["1970"]);
    }

    #[test]
    fn quality_is_a_word_with_its_time() {
        let mut example = Example::new();
        example.frame("line.DriveStatus", 0, 0, 0x1F4, &[0xB8, 0x0B, 2]);
        example.causes("line.DriveStatus", Causes::of(Cause::Late));
        let page = page(&example, "");
        check(
            &page,
            &[
                r#"<tr data-tag="line.DriveStatus.ActualSpeed" class="uncertain" data-words="#,
                "late, last value held, since 2026-01-02T03:04:05.250Z",
                r#"<td class="value">1500.0</td>"#,
                "<span>1F4</span><span>from Drive every 100 ms</span>",
                "All devices on bus cell are simulated.",
                r#"<p id="gone" class="banner gone" role="alert" hidden>"#,
                "Not a safety component",
            ],
            &[],
        );
        example.plant.disconnect();
        let page = self::page(&example, "problems=1");
        check(&page, &[r#"<p id="gone" class="banner gone" role="alert"><b>"#, "controller gone"], &[]);
    }

    #[test]
    fn who_claimed_an_address_is_shown() {
        let mut example = Example::new();
        check(&page(&example, ""), &[], &["J1939 devices"]);
        example.writer.set_holder(0, 33, Some(Holder { name: Name(0xA10A_8200_2260_1267), claimed: STAMP }));
        let row = r#"<tr><td><b>line.@33</b></td><td>A10A820022601267</td><td>J1939 manufacturer 275</td>"#;
        check(&page(&example, ""), &[row, "4711", "2026-01-02T03:04:05.250Z"], &[]);
    }

    #[test]
    fn names_and_areas_are_shown_and_found() {
        let example = Example::new();
        let shown = r#"Drive &lt;1&gt; · ActualSpeed<span class="area">Hall &quot;2&quot;</span></td>"#;
        for (query, found) in [("", true), ("q=hall+drive", true), ("q=%3C1", true), ("q=cellar", false)] {
            assert_eq!(page(&example, query).contains(shown), found, "{query}");
        }
        check(&page(&example, "q=cellar"), &[r#"data-tag="line.EEC1.Load""#, r#"data-words=" Cellar""#], &["Axis"]);
    }

    #[test]
    fn alarms_that_are_not_on_the_disk_are_told() {
        let example = Example::new();
        let filter = Filter::from_query(None);
        let (view, status) = (example.plant.view(), Status::new(&example.plan, &[]).unwrap());
        for kept in [true, false] {
            let snapshot = Snapshot { alarms_kept: kept, ..take(&view, &status, &filter, NOW) };
            let banner = r#"<p id="unkept" class="banner stale" role="alert">"#;
            assert_eq!(render(&snapshot, &filter, "0123").contains(banner), !kept);
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = page(&Example::new(), "");
        check(
            &page,
            &[r#"<style nonce="0123">"#, r#"<script nonce="0123">"#],
            &["http://", "https://", "style=\"", "src="],
        );
        assert!(content_security_policy("0123").contains("default-src 'none'"));
    }
}
