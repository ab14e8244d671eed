// A conversation turn by turn, each turn with its tool calls and its scores.

const isConversation = (output) =>
  Boolean(output && Array.isArray(output.messages) && Array.isArray(output.turns) && output.ended);

const calledText = (call) => {
  const given = Object.entries(call.arguments).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const verb = call.refused ? "refused" : "failed";
  const result = call.failure === null ? JSON.stringify(call.result) : `${verb}: ${call.failure}`;
  const took = call.seconds === undefined ? "" : ` · ${duration(call.seconds)}`;
  return `${call.name}(${given.join(", ")}) → ${result}${took}`;
};

function conversationView(cell) {
  const { messages, turns } = cell.output;
  const answered = turns.filter((turn) => !turn.flag).length;
  const start = messages.length - 2 * answered;
  const before = messages.slice(0, start).map((message) => saidBlock(message.role, message.content, "sent"));
  const views = turns.map((turn, at) => turnView(cell, turn, turn.flag ? null : messages[start + 2 * at + 1].content));
  return make("div", { class: "conversation" }, before, views);
}

function turnView(cell, turn, reply) {
  return make(
    "section", { class: "node", "aria-label": `Turn ${turn.number}` },
    make("h5", {}, `turn ${turn.number}`),
    saidBlock("user", turn.user, "sent"),
    turn.flag ? make("p", { class: "problem" }, turn.problem) : saidBlock("assistant", reply, "reply"),
    typeof turn.answer === "string" || isNothing(turn.answer) ? null : saidBlock("answer", turn.answer),
    turn.tool_calls.map((call) => saidBlock("tool", calledText(call))),
    turnScores(cell, turn.number),
  );
}

function turnScores(cell, number) {
  const found = Object.entries(cell.scores).flatMap(([name, [, detail]]) =>
    (detail.turns ?? []).filter((turn) => turn.turn === number).map((turn) => [name, turn]),
  );
  if (!found.length) return null;
  return make("dl", { class: "options" }, found.map(([name, turn]) => {
    const expected = turn.detail?.expected;
    return described(name, figure(turn.score) + (expected === undefined ? "" : `, expected ${shown(expected)}`));
  }));
}
