// Reads commands, one JSON object a line, and answers each in its own line; argv: the module that has the stack.

const readline = require("node:readline");
const { makePeer } = require("./peer.js");

const stack = require(process.argv[2]);
const handle = makePeer(stack.RTCPeerConnection ?? stack.default.RTCPeerConnection);

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { number, ...command } = JSON.parse(line);
  let answer;
  try {
    answer = { number, result: await handle(command) };
  } catch (error) {
    answer = { number, error: String(error.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}).on("close", () => process.exit(0));
