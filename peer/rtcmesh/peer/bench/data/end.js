// One end of a contest on any stack with the W3C interface, in Node or in a page. What it is told and what it
// reports are the orders and reports of orders.py, as objects; what the process costs is its owner's business.

function makeEnd(RTCPeerConnection, number, report) {
  const HIGH_WATER_BYTES = 1024 * 1024;
  const PING_BYTES = 64;

  const connection = new RTCPeerConnection({ iceServers: [] });
  let channel;
  let onMessage = () => {};
  let onWritable = () => {};

  const seconds = () => performance.now() / 1000;
  const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
  const pause = (time) => new Promise((resolve) => setTimeout(resolve, time * 1000));
  const sizeOf = (data) => data.byteLength ?? data.length;
  const LENGTH_BYTES = 2;
  let closed = false;

  const take = (opened) => {
    channel = opened;
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = HIGH_WATER_BYTES / 2;
    channel.onbufferedamountlow = () => onWritable();
    channel.onmessage = ({ data }) => onMessage(data);
    if (channel.readyState === "open") report({ type: "opened", connection: number });
    else channel.onopen = () => report({ type: "opened", connection: number });
  };
  connection.ondatachannel = (event) => take(event.channel);

  const gathered = () =>
    new Promise((resolve) => {
      const look = () => connection.iceGatheringState === "complete" && resolve();
      connection.onicegatheringstatechange = look;
      connection.iceGatheringStateChange?.subscribe?.(look);
      look();
    });

  const describe = async (description) => {
    await connection.setLocalDescription(description);
    await gathered();
    report({ type: "description", sdp: connection.localDescription.sdp, connection: number });
  };

  // Messages come one by one; what has come leaves when the next one does not fit, or at the end of the turn.
  const coalescer = (limit) => {
    const together = new Uint8Array(limit);
    let used = 0;
    const flush = () => {
      if (used) channel.send(together.slice(0, used));
      used = 0;
    };
    return (message) => {
      const full = used + LENGTH_BYTES + message.length > limit;
      if (full) flush();
      if (!used) queueMicrotask(flush);
      together[used] = message.length >> 8;
      together[used + 1] = message.length & 0xff;
      together.set(message, used + LENGTH_BYTES);
      used += LENGTH_BYTES + message.length;
      return full;
    };
  };

  const takeApart = (data, take) => {
    const bytes = data.buffer ? data : new Uint8Array(data);
    let offset = 0;
    while (offset < bytes.length) {
      const length = (bytes[offset] << 8) | bytes[offset + 1];
      offset += LENGTH_BYTES + length;
      take(bytes.subarray(offset - length, offset));
    }
  };

  const flood = async (size, perTurn, into) => {
    const data = new Uint8Array(size);
    const hasRoom = () => channel.bufferedAmount < HIGH_WATER_BYTES;
    const coalesce = coalescer(into);
    const sendAlone = (message) => {
      channel.send(message);
      return hasRoom();
    };
    const send = into ? (message) => !coalesce(message) || hasRoom() : sendAlone;
    while (!closed) {
      let room = hasRoom();
      for (let sent = 0; room && sent < perTurn; sent += 1) room = send(data);
      // The event is not to be relied on in every stack.
      if (!room) await Promise.race([new Promise((resolve) => (onWritable = resolve)), pause(0.005)]);
      else await turn();
    }
  };

  const count = async (settle, duration, coalesced) => {
    let messages = 0;
    let bytes = 0;
    let last = seconds();
    let longestGap = 0;
    const take = (data) => {
      messages += 1;
      bytes += sizeOf(data);
      const now = seconds();
      if (now - last > longestGap) longestGap = now - last;
      last = now;
    };
    const first = await new Promise((resolve) => (onMessage = resolve));
    const takeAll = coalesced ? (data) => takeApart(data, take) : take;
    takeAll(first);
    onMessage = takeAll;
    await pause(settle);
    const earlier = bytes;
    const began = seconds();
    messages = longestGap = 0;
    last = began;
    await pause(duration);
    const ended = seconds();
    report({
      type: "counted",
      messages,
      bytes: bytes - earlier,
      seconds: ended - began,
      longest_gap: Math.max(longestGap, ended - last),
      total_bytes: bytes,
    });
  };

  const ping = async (duration) => {
    const data = new Uint8Array(PING_BYTES);
    const roundTrips = [];
    let answered;
    onMessage = () => answered();
    const until = seconds() + duration;
    for (let sentAt = seconds(); sentAt < until; sentAt = seconds()) {
      const answer = new Promise((resolve) => (answered = resolve));
      channel.send(data);
      await answer;
      roundTrips.push(seconds() - sentAt);
    }
    report({ type: "pinged", round_trips: roundTrips });
  };

  return async (order) => {
    switch (order.type) {
      case "offer":
        take(connection.createDataChannel("bench"));
        return describe(await connection.createOffer());
      case "answer":
        await connection.setRemoteDescription({ type: "offer", sdp: order.sdp });
        return describe(await connection.createAnswer());
      case "accept":
        return connection.setRemoteDescription({ type: "answer", sdp: order.sdp });
      case "flood":
        return flood(order.size, order.turn, order.into);
      case "count":
        return count(order.settle, order.seconds, order.coalesced);
      case "echo":
        onMessage = (data) => channel.send(data);
        return;
      case "ping":
        return ping(order.seconds);
      case "close":
        closed = true;
        onMessage = () => {};
        onWritable();
        await connection.close();
        return report({ type: "closed", connection: number });
    }
    throw new Error(`unknown order ${order.type}`);
  };
}

if (typeof module !== "undefined") module.exports = { makeEnd };
