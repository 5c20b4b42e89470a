// A participant's page, whichever stack speaks SIP: camera, a tone for a microphone, views of the others,
// and what the test asks about them.

const views = new Map(); // media stream id -> video element, as old pages keep them
const messages = [];
const log = [];
let peer; // the RTCPeerConnection of the call
let offered = ''; // the last description of the other side
let spoken; // the stream of the own microphone and camera
let heard; // the analyser of what is heard
let sound; // the AudioContext

const note = (...words) => log.push(words.map(String).join(' '));

// The fake camera, and a tone of this frequency instead of the fake microphone's beeps.
async function media(hertz, video = true) {
  sound ??= new AudioContext({ sampleRate: 48000 });
  await sound.resume();
  const tone = new OscillatorNode(sound, { frequency: hertz });
  const volume = new GainNode(sound, { gain: 0.3 });
  const microphone = sound.createMediaStreamDestination();
  tone.connect(volume).connect(microphone);
  tone.start();
  const stream = new MediaStream(microphone.stream.getAudioTracks());
  if (video) {
    const camera = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180, frameRate: 10 } });
    camera.getTracks().forEach((track) => stream.addTrack(track));
  }
  spoken = stream;
  return stream;
}

// Looks and listens to what comes in on a connection. `addstream` and `removestream` are what pages go by that
// were written for Asterisk.
function watch(connection) {
  if (peer === connection) return;
  peer = connection;
  connection.addEventListener('addstream', ({ stream }) => {
    note('addstream', stream.id, stream.getTracks().map((track) => track.kind).join());
    if (stream.getVideoTracks().length > 0) show(stream);
    else listen(stream);
  });
  connection.addEventListener('removestream', ({ stream }) => {
    note('removestream', stream.id);
    views.get(stream.id)?.remove();
    views.delete(stream.id);
  });
}

function show(stream) {
  const element = document.createElement('video');
  Object.assign(element, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
  document.getElementById('views').append(element);
  views.set(stream.id, element);
}

// Adds a stream to what is heard; there may be one for each speaker.
function listen(stream) {
  // SIP.js stops a track when the next one comes; what it does not know it cannot stop.
  const own = stream.clone();
  // Chromium hands remote audio to Web Audio only while an element plays it.
  const element = new Audio();
  Object.assign(element, { muted: true, srcObject: own });
  element.play().catch((error) => note('play', error));
  heard ??= new AnalyserNode(sound, { fftSize: 16384, smoothingTimeConstant: 0 });
  sound.createMediaStreamSource(own).connect(heard);
}

// How loud tones of these frequencies are, in decibels; -200 where nothing is heard at all.
function levels(frequencies) {
  if (!heard) return frequencies.map(() => -200);
  const bins = new Float32Array(heard.frequencyBinCount);
  heard.getFloatFrequencyData(bins);
  const width = sound.sampleRate / heard.fftSize;
  const at = (hertz) => Math.max(...bins.slice(Math.round(hertz / width) - 2, Math.round(hertz / width) + 3));
  return frequencies.map((hertz) => Math.max(-200, at(hertz)));
}

// Every video that comes in: its line, what it is called, its size, and how many frames were decoded.
async function videos() {
  const found = [];
  for (const line of peer?.getTransceivers() ?? []) {
    if (!line.receiver.track || line.receiver.track.kind !== 'video') continue;
    const report = await line.receiver.getStats();
    for (const stats of report.values()) {
      if (stats.type !== 'inbound-rtp') continue;
      found.push({
        mid: line.mid,
        direction: line.currentDirection,
        frames: stats.framesDecoded ?? 0,
        width: stats.frameWidth ?? 0,
        height: stats.frameHeight ?? 0,
        packets: stats.packetsReceived ?? 0,
        lost: stats.packetsLost ?? 0,
        freezes: stats.freezeCount ?? 0,
        frozen: stats.totalFreezesDuration ?? 0, // seconds
        nacks: stats.nackCount ?? 0,
        again: stats.retransmittedPacketsReceived ?? 0,
      });
    }
  }
  return found;
}

// What the audio that comes in has needed: samples that were made up, and all of them.
async function audio() {
  const receivers = peer?.getReceivers().filter((one) => one.track?.kind === 'audio') ?? [];
  for (const receiver of receivers) {
    for (const stats of (await receiver.getStats()).values()) {
      if (stats.type !== 'inbound-rtp') continue;
      return {
        samples: stats.totalSamplesReceived ?? 0,
        concealed: stats.concealedSamples ?? 0,
        silent: stats.silentConcealedSamples ?? 0,
        lost: stats.packetsLost ?? 0,
        packets: stats.packetsReceived ?? 0,
        jitter: stats.jitter ?? 0,
      };
    }
  }
  return null;
}

// Every audio line: which way it flows, and how much came.
async function speakers() {
  const found = [];
  for (const line of peer?.getTransceivers() ?? []) {
    if (line.receiver.track?.kind !== 'audio') continue;
    const report = await line.receiver.getStats();
    const inbound = [...report.values()].find((stats) => stats.type === 'inbound-rtp');
    found.push({
      mid: line.mid,
      direction: line.currentDirection,
      packets: inbound?.packetsReceived ?? 0,
      lost: inbound?.packetsLost ?? 0,
      concealed: inbound?.concealedSamples ?? 0,
    });
  }
  return found;
}

// What the page shows: the views of old pages, and whether a picture has come into them.
function shown() {
  return [...views.values()].map((element) => ({ width: element.videoWidth, height: element.videoHeight }));
}

// Whom the views show, as pages for Asterisk's conferences know it: the label of the line whose stream it is, and the
// name of the channel by that id in conference events.
function names() {
  const channels = new Map();
  for (const { type, body } of messages) {
    if (type !== 'application/x-asterisk-confbridge-event+json') continue;
    for (const { id, caller } of JSON.parse(body).channels) channels.set(id, caller.name);
  }
  const labels = new Map();
  // As it came: what the browser gives back has no labels.
  for (const line of offered.split(/^m=/m).slice(1)) {
    const [, stream] = /^a=msid:(\S+)/m.exec(line) ?? [];
    const [, label] = /^a=label:(\S+)/m.exec(line) ?? [];
    if (stream && label) labels.set(stream, label);
  }
  return [...views.keys()].map((stream) => channels.get(labels.get(stream)) ?? null).sort();
}

// The user fragments of both sides, and whether media can flow.
function way() {
  const fragment = (description) => /^a=ice-ufrag:(\S+)/m.exec(description?.sdp ?? '')?.[1];
  return {
    ours: fragment(peer?.localDescription),
    theirs: fragment(peer?.remoteDescription),
    ice: peer?.iceConnectionState,
  };
}

// Takes the microphone's line away, or brings it back; the SIP stack says so to the other side.
async function microphone(on) {
  if (on) {
    peer.addTrack(spoken.getAudioTracks()[0], spoken);
  } else {
    peer.getTransceivers().find((line) => line.sender.track?.kind === 'audio').stop();
  }
  await renegotiate({});
}

function state() {
  return {
    ice: peer?.iceConnectionState ?? 'none',
    connection: peer?.connectionState ?? 'none',
    lines: peer?.getTransceivers().map((line) => `${line.mid} ${line.currentDirection}`) ?? [],
    messages,
    log,
  };
}
