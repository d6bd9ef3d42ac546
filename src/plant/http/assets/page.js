// Brings the page up to date once a second. Text enters by textContent only: what a DBC file says is never markup.
"use strict";
(() => {
  const byName = new Map();
  for (const row of document.querySelectorAll("tr[data-tag]")) byName.set(row.dataset.tag, row);
  const buses = new Map();
  for (const row of document.querySelectorAll("tr[data-bus]")) buses.set(row.dataset.bus, row);
  const messages = [...document.querySelectorAll("tbody[data-message]")];
  const query = document.querySelector("input[name=q]");
  const problems = document.querySelector("input[name=problems]");
  const banner = (id, shown) => { document.getElementById(id).hidden = !shown; };
  const put = (cell, text) => { if (cell.textContent !== text) cell.textContent = text; };
  const clock = (time) => time === null ? "time unknown" : new Date(time).toLocaleTimeString();
  const moment = (time) => {
    if (time === null) return "–";
    const date = new Date(time);
    const today = date.toDateString() === new Date().toDateString();
    return today ? date.toLocaleTimeString() : date.toLocaleString();
  };

  // The filter hides at once; Enter asks the server, which knows the tags that are not on this page.
  const filter = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const body of messages) {
      let any = false;
      for (const row of body.querySelectorAll("tr[data-tag]")) {
        const name = `${row.dataset.tag} ${row.dataset.words ?? ""}`.toLowerCase();
        const hit = words.every((word) => name.includes(word)) && (!problems.checked || !row.classList.contains("good"));
        row.hidden = !hit;
        any ||= hit;
        shown += hit;
      }
      body.hidden = !any;
    }
    put(document.getElementById("count"), `${shown} of ${byName.size} shown`);
  };
  query.addEventListener("input", filter);
  problems.addEventListener("change", filter);

  const showTag = (tag) => {
    const row = byName.get(tag.name);
    if (!row) return false;
    const [, value, unit, quality, age] = row.cells;
    put(value, tag.text);
    put(unit, tag.unit);
    const since = tag.since === null ? "" : `, since ${moment(tag.since)}`;
    put(quality, tag.quality_text + since);
    put(age, tag.age_text);
    const looks = tag.quality === "simulated" ? "good simulated" : tag.trust;
    if (row.className !== looks) row.className = looks;
    return true;
  };

  const showBus = (bus) => {
    const row = buses.get(bus.name);
    if (!row) return;
    const cells = row.cells;
    put(cells[2], bus.state.replace("_", " "));
    cells[2].className = `state ${bus.trust}`;
    cells[2].title = bus.trouble;
    const facts = [moment(bus.since), bus.frames_per_second?.toFixed(0) ?? "–", bus.load_percent?.toFixed(1) ?? "–", bus.received,
      bus.transmitted, bus.lost, bus.not_sent, bus.error_frames, bus.unknown];
    facts.forEach((fact, index) => put(cells[3 + index], String(fact)));
    if (bus.load_peak_percent !== null) cells[5].title = `highest: ${bus.load_peak_percent.toFixed(1)} %`;
  };

  // The rows of a table: for each an optional class, then its cells; numbers stand right.
  const fill = (id, rows) => {
    const body = document.getElementById(id);
    if (!body) return rows.length === 0;
    body.replaceChildren(...rows.map(([looks, ...cells]) => {
      const row = document.createElement("tr");
      row.className = looks;
      for (const cell of cells) {
        const place = row.insertCell();
        place.textContent = String(cell);
        if (typeof cell === "number" || /^\d+\.\d{3}$/.test(cell)) place.className = "number";
      }
      return row;
    }));
    return true;
  };

  const showWrong = (now) => {
    const { alarms, forces } = now.machine;
    const since = (alarm) => alarm.since === null ? "time unknown" : moment(alarm.since);
    const dotted = (words) => words ? ` · ${words}` : "";
    const consequences = alarms.filter((alarm) => alarm.suppressed).length;
    const counts = [[alarms.length - consequences, "active"], [consequences, "that follow from them"],
      [now.over.length, "over, to be acknowledged or confirmed"], [forces.length, "forced"], [now.alarms_left_out, "not shown"]];
    const words = counts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
    put(document.getElementById("wrong"), words.length > 0 ? `Alarms: ${words.join(" · ")}` : "no alarm");
    fill("alarms", [
      ...alarms.map((alarm) => [alarm.suppressed ? "consequence" : "alarm", since(alarm), (alarm.suppressed ? "↳ " : "") + alarm.subject,
        alarm.text + (alarm.detail ? ` (${alarm.detail})` : "") + dotted(alarm.handled), alarm.severity, alarm.count]),
      ...now.over.map((alarm) => ["over", since(alarm), alarm.subject, `over: ${alarm.text}${dotted(alarm.handled)}`, alarm.severity, ""]),
      ...forces.map((force) =>
        ["forced", "", force.tag, `forced to ${force.value ?? "–"} for another ${force.seconds_left.toFixed(0)} s`, "", ""]),
    ]);
    for (const row of document.getElementById("alarms").rows) row.cells[2].className = "words";
  };

  const showMachine = (machine) => {
    const words = [machine.armed ? "outputs armed" : "outputs not armed", machine.remote ? "Remote" : "Local"];
    if (machine.forces.length > 0) words.push(`${machine.forces.length} forced`);
    if (machine.clock_synchronized === false) words.push("clock not synchronised");
    put(document.getElementById("outputs"), words.join(" · "));
    const ms = (us) => (us / 1000).toFixed(3);
    const drawn = fill("routes", machine.routes.map((route) => ["", route.name, route.on ? "on" : "off", route.passed,
      route.rate_limited + route.unfit + route.off + route.not_sent]));
    const timed = fill("times", machine.times.map((times) => ["", `${times.kind} ${times.name}`, ms(times.budget_us),
      ms(times.p50_us), ms(times.p999_us), ms(times.max_us), times.overruns, times.count]));
    return drawn && timed;
  };

  // Another J1939 sender or another configuration has other rows: the server draws the page anew, not too often.
  const redraw = () => {
    if (performance.now() > 10000) location.reload();
  };

  const server = new URLSearchParams(location.search);
  // unchecking shows rows that a page of problems only does not have
  if (server.get("problems") === "1") problems.addEventListener("change", () => { if (!problems.checked) problems.form.submit(); });
  const address = "/api/v1/tags" + (server.get("q") ? `?q=${encodeURIComponent(server.get("q"))}` : "");
  const update = async () => {
    try {
      const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(5000) });
      if (!response.ok) throw new Error(String(response.status));
      const now = await response.json();
      put(document.getElementById("time"), clock(now.time));
      put(document.getElementById("controller"), now.controller.up ? "controller running" : "controller gone");
      document.getElementById("controller").className = now.controller.up ? "good" : "bad";
      banner("gone", !now.controller.up);
      banner("unkept", !now.alarms_kept);
      banner("stale", false);
      // signals and buses may have come, gone or changed
      if (now.controller.configuration !== document.getElementById("configuration").textContent) location.reload();
      now.buses.forEach(showBus);
      showWrong(now);
      if (!showMachine(now.machine)) redraw();
      let known = 0;
      for (const tag of now.tags) known += showTag(tag);
      if (known < now.tags.length && server.get("problems") !== "1") redraw();
      filter();
    } catch {
      banner("stale", true);
    }
    setTimeout(update, 1000);
  };
  document.getElementById("search").hidden = true;
  filter();
  update();
})();
