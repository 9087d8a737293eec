// Ends in Node, as a process: `node node_end.js MODULE`, told by lines on standard input.

const dns = require("node:dns");
const fs = require("node:fs");
const net = require("node:net");
const readline = require("node:readline");
const { makeEnd } = require("./end.js");

// werift asks a public STUN server although it is given none, and would wait 5 s for its name, which nobody here knows.
const { lookup } = dns.promises;
dns.promises.lookup = (name, ...rest) =>
  net.isIP(name) ? lookup(name, ...rest) : Promise.reject(new Error("no names are looked up here"));

const stack = require(process.argv[2]);
const RTCPeerConnection = stack.RTCPeerConnection ?? stack.default.RTCPeerConnection;
const report = (line) => fs.writeSync(1, JSON.stringify(line) + "\n");
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const ends = new Map();
let cpuBefore = cpuSeconds();

const obey = async (order) => {
  const number = order.connection ?? 0;
  if (order.type === "settle") {
    const cpu = cpuSeconds();
    report({ type: "usage", cpu_seconds: cpu - cpuBefore, resident_bytes: process.memoryUsage().rss });
    cpuBefore = cpu;
    return;
  }
  if (!ends.has(number)) ends.set(number, makeEnd(RTCPeerConnection, number, report));
  const end = ends.get(number);
  if (order.type === "close") ends.delete(number);
  await end(order);
};

readline
  .createInterface({ input: process.stdin })
  .on("line", async (line) => {
    try {
      await obey(JSON.parse(line));
    } catch (error) {
      report({ type: "failed", why: String(error.stack ?? error) });
    }
  })
  .on("close", () => process.exit(0));
