// A trace as it was recorded: steps within steps, and each call with all that was said.

// What has a place of its own in a call; all else stands with its options.
const CALL_PARTS = [
  "call", "messages", "prompt", "begun", "thoughts", "reply", "function_calls", "parsed", "problem", "grammar",
  "schema", "options", "notes",
];

const isNothing = (value) => value === null || value === undefined || value === "" || value === false;
const saidBlock = (name, value, kind) =>
  make("div", { class: `said ${kind ?? ""}` }, make("h6", {}, name), textBlock(value));

// A turn, or a reply, with the calls of tools that the model wrote in it.
const withCalls = (content, calls) =>
  [content, ...(calls ?? []).map((call) => `${call.name}(${call.arguments})`)].filter((text) => text).join("\n");

function nodeView(node, isFirst) {
  const calls = node.calls ?? [];
  const parts = node.parts ?? [];
  const title = [node.name, node.kind, node.status, duration(node.seconds ?? 0)];
  if (node.waited) title.push(`waited for ${duration(node.waited)}`);
  const opens = (at) => isFirst && at === 0 && !parts.length;
  return make(
    "section", { class: "node", "aria-label": `Step ${node.name}` },
    make("h5", {}, title.join(" · ")),
    node.problem ? make("p", { class: "problem" }, node.problem) : null,
    calls.map((call, at) => foldable(callTitle(call), () => callView(call), opens(at))),
    (node.tool_calls ?? []).map((call) => saidBlock("tool", calledText(call))),
    parts.map((part) => nodeView(part, parts.length === 1)),
    isNothing(node.value) ? null : saidBlock("value", node.value),
    Object.entries(node.extra ?? {}).map(([name, value]) => saidBlock(name, value)),
  );
}

function callTitle(call) {
  const parts = [`call ${call.call}`];
  if (String(call.sample ?? "").includes("/")) parts.push(`sample ${call.sample}`);
  parts.push(`${call.tokens_in ?? 0} + ${call.tokens_out ?? 0} tokens`);
  parts.push(call.cached ? "cached" : duration(call.seconds ?? 0));
  if (call.repair) parts.push("repair");
  if (call.finish === "length") parts.push("cut off");
  return [...parts, ...(call.notes ?? [])].join(" · ");
}

function callView(call) {
  const part = (name, kind) => (isNothing(call[name]) ? null : saidBlock(name, call[name], kind));
  const rest = Object.entries(call).filter(([name, value]) => !CALL_PARTS.includes(name) && !isNothing(value));
  const options = [...Object.entries(call.options ?? {}), ...rest];
  return make(
    "div", { class: "call" },
    (call.messages ?? []).map((message) => saidBlock(message.role, withCalls(message.content, message.calls), "sent")),
    part("prompt", "sent"),
    part("begun", "sent"),
    part("thoughts", "thoughts"),
    saidBlock("reply", withCalls(call.reply, call.function_calls), "reply"),
    part("parsed"),
    call.problem ? make("p", { class: "problem" }, call.problem) : null,
    part("grammar"),
    part("schema"),
    make("dl", { class: "options" }, options.map(([name, value]) => described(name, shown(value)))),
  );
}

// All that was sent in a trace, as one text to compare.
function sentText(node) {
  if (!node) return "";
  const said = (call) => [
    ...(call.messages ?? []).map((message) => `${message.role}:\n${withCalls(message.content, message.calls)}`),
    call.prompt, call.begun,
  ];
  const calls = (node.calls ?? []).flatMap(said);
  return [...calls, ...(node.parts ?? []).map(sentText)].filter(Boolean).join("\n\n");
}
