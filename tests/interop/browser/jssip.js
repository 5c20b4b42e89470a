// A participant with JsSIP, the current one or the one that old pages have (the test says which file is loaded).

let agent;
let session;

// Registers and calls. `url` is the WebSocket, `number` what is called (none: waits for a call).
async function start({ url, user, name, number, hertz, video }) {
  const stream = await media(hertz, video);
  agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(url)],
    uri: `sip:${user}@lab.test`,
    password: 'secret',
    display_name: name,
    session_timers: true,
  });
  agent.on('newMessage', ({ originator, message, request }) => {
    if (originator !== 'remote') return;
    messages.push({
      from: request.from.display_name,
      type: request.getHeader('Content-Type'),
      body: request.body,
    });
  });
  agent.on('newRTCSession', ({ originator, session: news }) => {
    session = news;
    for (const event of ['progress', 'accepted', 'confirmed', 'reinvite', 'update'])
      news.on(event, () => note(event));
    for (const event of ['ended', 'failed']) news.on(event, ({ cause, originator: who, message }) => note(event, who, cause, message?.getHeader?.('Reason')));
    news.on('sdp', ({ originator: who, sdp }) => {
      if (who === 'remote') offered = sdp;
    });
    news.on('peerconnection', ({ peerconnection }) => watch(peerconnection));
    if (originator === 'remote') {
      news.on('newRTCSession', () => note('called'));
      news.answer({ mediaStream: stream });
    } else if (news.connection) {
      watch(news.connection);
    }
  });
  await new Promise((done, failed) => {
    agent.on('registered', done);
    agent.on('registrationFailed', ({ cause }) => failed(new Error(cause)));
    agent.start();
  });
  note('registered');
  if (number) agent.call(`sip:${number}@lab.test`, { mediaStream: stream, mediaConstraints: { audio: true, video } });
}

// A MESSAGE inside the call; what the switch says to it.
function say(type, body) {
  return new Promise((done) => {
    const options = { extraHeaders: [`Content-Type: ${type}`], body };
    const status = (response) => done(response.status_code);
    const handlers = { onSuccessResponse: status, onErrorResponse: status, onRequestTimeout: () => done(408) };
    if (session.sendRequest) return session.sendRequest('MESSAGE', { ...options, eventHandlers: handlers });
    // 3.0.13: by the dialog, with itself as the one who is told.
    const applicant = {
      owner: session,
      receiveResponse: status,
      onRequestTimeout: () => done(408),
      onTransportError: () => done(503),
      onDialogError: () => done(481),
    };
    session.dialog.sendRequest(applicant, 'MESSAGE', options);
  });
}

function leave() {
  session.terminate();
}

function silence(on) {
  if (on) session.mute({ audio: true, video: true });
  else session.unmute({ audio: true, video: true });
}

// Makes an offer inside the call.
function renegotiate(offer) {
  return new Promise((done, failed) => {
    session.once('peerconnection:setremotedescriptionfailed', failed);
    session.once('ended', ({ cause, message }) => failed(new Error(`${cause} ${message?.getHeader('Reason')}`)));
    if (!session.renegotiate({ rtcOfferConstraints: offer }, () => done(true))) failed(new Error('not ready to offer'));
  });
}
