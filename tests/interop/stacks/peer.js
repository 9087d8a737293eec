// One RTCPeerConnection that does what it is told: in a browser, or in Node on any stack with the W3C interface.

function makePeer(RTCPeerConnection) {
  const connection = new RTCPeerConnection({ iceServers: [] });
  const channels = new Map();
  const received = new Map();
  const closed = new Set();
  let news = () => {};
  let changed = new Promise((resolve) => (news = resolve));

  const note = () => {
    const resolve = news;
    changed = new Promise((next) => (news = next));
    resolve();
  };
  const until = async (condition) => {
    while (!condition()) await changed;
  };
  const encode = (data) => {
    if (typeof data === "string") return { text: data };
    const bytes = new Uint8Array(data.buffer ? data.buffer : data, data.byteOffset ?? 0, data.byteLength);
    let binary = "";
    for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return { binary: btoa(binary) };
  };
  const decode = (message) =>
    "text" in message ? message.text : Uint8Array.from(atob(message.binary), (character) => character.charCodeAt(0));

  const add = (channel) => {
    const label = channel.label;
    channel.binaryType = "arraybuffer";
    channels.set(label, channel);
    received.set(label, []);
    channel.onmessage = ({ data }) => {
      received.get(label).push(encode(data));
      if (label.startsWith("echo")) channel.send(data);
      note();
    };
    channel.onopen = note;
    channel.onclose = () => {
      closed.add(label);
      note();
    };
    note();
  };
  connection.ondatachannel = ({ channel }) => add(channel);

  const gathered = () =>
    new Promise((resolve) => {
      const look = () => connection.iceGatheringState === "complete" && resolve();
      connection.onicegatheringstatechange = look;
      connection.addEventListener?.("icegatheringstatechange", look);
      connection.iceGatheringStateChange?.subscribe?.(look);
      look();
    });
  const describe = async (description) => {
    await connection.setLocalDescription(description);
    await gathered();
    return connection.localDescription.sdp;
  };

  return async (command) => {
    switch (command.do) {
      case "offer":
        add(connection.createDataChannel("first"));
        return describe(await connection.createOffer());
      case "answer":
        await connection.setRemoteDescription({ type: "offer", sdp: command.sdp });
        return describe(await connection.createAnswer());
      case "accept":
        await connection.setRemoteDescription({ type: "answer", sdp: command.sdp });
        return null;
      case "open":
        add(connection.createDataChannel(command.label, command.options));
        await until(() => channels.get(command.label).readyState === "open");
        return null;
      case "send":
        channels.get(command.label).send(decode(command.message));
        return null;
      case "received":
        await until(() => (received.get(command.label) ?? []).length >= command.count);
        return received.get(command.label);
      case "close channel":
        channels.get(command.label).close();
        return null;
      case "channel closed":
        await until(() => closed.has(command.label) || channels.get(command.label)?.readyState === "closed");
        return null;
      case "close":
        await connection.close();
        return null;
    }
    throw new Error(`unknown command ${command.do}`);
  };
}

if (typeof module !== "undefined") module.exports = { makePeer };
